-- What the application may do with these tables: reports are added, never changed.
GRANT INSERT ON reconciliations TO everopen_app;
