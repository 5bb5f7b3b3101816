"""What a user brings, made into an nnU-Net raw dataset with a case table; checks and folds."""
