"""A model made smaller, faster or portable."""
