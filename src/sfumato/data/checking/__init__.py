"""Whether a data set is fit for training: findings, a page, a clean copy."""
