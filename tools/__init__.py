"""The programs that measure this library and make its documents and fixtures."""
