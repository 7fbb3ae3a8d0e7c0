"""From many runs to the published tables, their plots and findings (notebook 07, ``kdnb figures``)."""
