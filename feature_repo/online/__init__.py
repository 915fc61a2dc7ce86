"""The online store: Feast's Redis layout, the one guard that every write passes, the stream's and the predictor's rows, Feast's
own way in (`url_store`, `guarded_store`).
"""
