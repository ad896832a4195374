"""What a value is and how an operation finds its interpreter; knows no particular operation."""
