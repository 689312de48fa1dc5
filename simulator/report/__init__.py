"""What a run leaves behind: a folder with tables, numbers and a figure, and text for people."""
