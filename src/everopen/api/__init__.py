"""HTTP in front of trading: the API with its OpenAPI document, and the storefront's pages.

Nothing is decided here. A request is read with limits, checked, handed to trading, and the outcome is written as an answer
or as a problem document (RFC 9457). `table.py` lists every call; `hot.py` is the one that must be cheap."""
