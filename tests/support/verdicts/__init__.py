"""Small scripts, each with the verdict that a k6 user would sign."""
