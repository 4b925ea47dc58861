"""What fastbp reaches, measured by commands that anyone can run."""
