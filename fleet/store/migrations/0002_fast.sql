-- Orders that failed for a reason of their own: left alone for an hour. `end_failed`: their money could not be given back.
CREATE TABLE order_set_aside (
    order_number TEXT PRIMARY KEY REFERENCES charge_order (number),
    reason TEXT NOT NULL,
    failed TIMESTAMPTZ NOT NULL DEFAULT now(),
    end_failed TIMESTAMPTZ
);

-- Starts of an outlet in the last minutes: read at each tap.
CREATE INDEX order_by_outlet ON charge_order (cabinet, outlet, made);

-- Orders to be stopped, also those that were given back: looked for each second, among all orders that ever were.
CREATE INDEX order_to_stop ON charge_order (stop_wanted) WHERE stop_wanted IS NOT NULL AND state <> 'paid_out';

-- Desired things that are not in force: looked for each second, among those of all cabinets.
CREATE INDEX desired_due ON desired (cabinet) WHERE applied_version <> version AND rejected IS NULL;
