"""Pages of the app; `app.py` lists them."""
