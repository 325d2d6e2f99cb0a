"""The operations on responses: their requests, their events, and the scripted replies of the model."""
