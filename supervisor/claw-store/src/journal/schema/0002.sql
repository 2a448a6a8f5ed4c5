-- What a container was made of, as JSON; NULL for processes, and for lives before this column.

ALTER TABLE instance ADD COLUMN image TEXT;
