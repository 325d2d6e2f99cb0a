"""The program that measures: its arithmetic, its server, its tables, and a short run of it."""
