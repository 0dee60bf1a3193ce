-- Login names are unique within their company: over all companies, one would learn the names of another.
ALTER TABLE staff DROP CONSTRAINT staff_name_key;
ALTER TABLE staff ADD CONSTRAINT staff_of_company UNIQUE (company_id, name);

-- Printed codes that were given to a cabinet: it gets no other ones, and no other cabinet gets these.
CREATE TABLE outlet_code (
    code TEXT PRIMARY KEY,
    cabinet TEXT NOT NULL REFERENCES cabinet (id),
    given TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX outlet_code_by_cabinet ON outlet_code (cabinet);
INSERT INTO outlet_code (code, cabinet) SELECT code, cabinet FROM outlet;

-- Addresses from which a person has signed in before, as SHA-256 of name and address: a lock of the name by others does
-- not concern them.
CREATE TABLE known_address (
    hash TEXT PRIMARY KEY,
    used TIMESTAMPTZ NOT NULL DEFAULT now()
);
