"""Numbers that the two papers and others printed, to stand beside those of a run."""

P1_F1 = {"synthetic": 0.8877, "real": 0.8988}  # P1 section 10, on DRIVE
P1_KL = {"synthetic_vs_real": 4.759, "real_vs_real": 4.212e-4}  # P1 section 10, on DRIVE
P2_TABLE_3 = {  # P2 table 3: accuracy after learning from real, from artificial images
    "class": {"vgg16": (0.96, 0.93), "knn": (0.94, 0.87), "svm": (0.90, 0.85), "random_forest": (0.93, 0.86)},
    "gender": {"vgg16": (0.90, 0.88), "knn": (0.84, 0.78), "svm": (0.82, 0.74), "random_forest": (0.83, 0.72)},
    "age group": {"vgg16": (0.86, 0.83), "knn": (0.80, 0.73), "svm": (0.79, 0.71), "random_forest": (0.80, 0.70)},
}
P2_IMAGES = {"class": "lymph node tiles, normal or tumour", "gender": "chest X-rays", "age group": "chest X-rays"}
LITERATURE = (  # on DRIVE at native resolution, inside the field of view, pooled: who, F1, AUC-ROC
    ("U-Net (Alom et al. 2018; orobix/retina-unet)", "0.814 to 0.816", "0.9755 to 0.979"),
    ("IterNet (Li et al. 2020)", "0.8205", "0.9816"),
)
