"""What is predicted from what: tasks joined with a cohort, features, phenotypes, splits."""
