"""The ranges that the record's contract gives its numbers, stated once for all tests and independently of the code."""

RANGES = {
    "age_years": (5, 120),
    "height_m": (0.5, 2.75),
    "weight_kg": (5, 700),
    "vegetable_frequency": (1, 3),
    "main_meals_per_day": (1, 4),
    "water_intake": (1, 3),
    "physical_activity_frequency": (0, 3),
    "technology_use": (0, 2),
}
