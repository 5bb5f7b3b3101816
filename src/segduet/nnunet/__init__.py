"""Stock nnU-Net in and out: plans, prepared folders, checkpoints. The home of nnunetv2 (B11)."""
