"""The program that proves by force: its bookkeeping, its eyes, and a short run of it."""
