"""The program: settings, wiring, engine, delivery, HTTP, scheduler and command line."""
