"""Measures this library's session beside the Agents SDK's class and a bare HTTP client."""
