-- An order's life after it is placed: its history, shipments, returns, invoices and credit notes. NULL in new columns of
-- old tables means what the row meant before.

-- The states of `trading/states.py`.
ALTER TABLE orders DROP CONSTRAINT orders_status_check;
ALTER TABLE orders ADD CONSTRAINT orders_status_check CHECK (status IN (
    'placed', 'authorised', 'paid', 'declined', 'cancelled', 'partly_shipped', 'shipped', 'completed', 'returned'));

-- Invoices are issued in the order of payment. Of all kinds of index only this one leaves the updates of orders on their page.
CREATE INDEX orders_settled ON orders USING brin (settled_at) WITH (autosummarize = on);

CREATE TABLE order_history (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id uuid NOT NULL,
    from_status text NOT NULL,
    event text NOT NULL,
    to_status text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,
    why text NOT NULL DEFAULT ''
);
CREATE INDEX order_history_order ON order_history (order_id, id);
COMMENT ON TABLE order_history IS
    'the rare transitions of orders, append-only; placed_at and settled_at tell those of the order path (see trading/states.py)';
INSERT INTO order_history (order_id, from_status, event, to_status, at, actor, why)
SELECT id, 'placed', 'cancel', 'cancelled', coalesce(settled_at, placed_at), 'system', 'before this history was kept'
  FROM orders WHERE status = 'cancelled';

CREATE TABLE shipments (
    order_id uuid NOT NULL,
    number integer NOT NULL CHECK (number > 0),
    carrier text NOT NULL DEFAULT '',
    tracking text NOT NULL DEFAULT '',
    shipped_at timestamptz NOT NULL DEFAULT now(),
    delivered_at timestamptz,
    PRIMARY KEY (order_id, number)
);
CREATE INDEX shipments_on_their_way ON shipments (shipped_at) WHERE delivered_at IS NULL;

CREATE TABLE shipment_lines (
    order_id uuid NOT NULL,
    number integer NOT NULL,
    order_line_no integer NOT NULL,
    quantity integer NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (order_id, number, order_line_no),
    FOREIGN KEY (order_id, number) REFERENCES shipments,
    FOREIGN KEY (order_id, order_line_no) REFERENCES order_lines
);

ALTER TABLE refunds
    ADD COLUMN shipping bigint CHECK (shipping >= 0),
    ADD COLUMN tax bigint CHECK (tax >= 0),
    ADD COLUMN shipping_tax bigint CHECK (shipping_tax >= 0);
COMMENT ON COLUMN refunds.shipping IS 'of the amount: what was charged for shipping; NULL = none';
COMMENT ON COLUMN refunds.tax IS 'of the amount: all tax, with shipping_tax; NULL = none';

ALTER TABLE refund_lines
    ADD COLUMN amount bigint CHECK (amount >= 0),
    ADD COLUMN tax bigint CHECK (tax >= 0),
    ADD COLUMN unshipped integer CHECK (unshipped BETWEEN 0 AND quantity);
COMMENT ON COLUMN refund_lines.amount IS 'what is given back for the line, with its discount and tax; NULL = pieces times price';
COMMENT ON COLUMN refund_lines.unshipped IS 'so many of the pieces had not left the house; NULL = none of them had';

ALTER TABLE stock_movements DROP CONSTRAINT stock_movements_kind_check;
ALTER TABLE stock_movements ADD CONSTRAINT stock_movements_kind_check
    CHECK (kind IN ('receipt', 'correction', 'return', 'cancellation', 'sale'));
COMMENT ON COLUMN stock_movements.kind IS 'return: came back. cancellation: sold, but never left the house';

CREATE TABLE returns (
    id uuid PRIMARY KEY,
    rma bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    order_id uuid NOT NULL,
    status text NOT NULL DEFAULT 'requested'
        CHECK (status IN ('requested', 'received', 'inspected', 'withdrawn', 'refused')),
    reason text NOT NULL DEFAULT '',
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT now(),
    received_at timestamptz,
    closed_at timestamptz,
    note text NOT NULL DEFAULT '',
    refund_id uuid UNIQUE REFERENCES refunds
);
CREATE INDEX returns_order ON returns (order_id);
COMMENT ON COLUMN returns.rma IS 'the number that the customer writes on the parcel';

CREATE TABLE return_lines (
    return_id uuid NOT NULL REFERENCES returns,
    order_line_no integer NOT NULL,
    quantity integer NOT NULL CHECK (quantity > 0),
    good integer,
    damaged integer,
    rejected integer,
    PRIMARY KEY (return_id, order_line_no),
    CONSTRAINT return_lines_are_inspected_whole CHECK (
        (good IS NULL AND damaged IS NULL AND rejected IS NULL)
        OR (good >= 0 AND damaged >= 0 AND rejected >= 0 AND good + damaged + rejected = quantity))
);
COMMENT ON TABLE return_lines IS
    'good: accepted, back on the shelf. damaged: accepted, not for sale any more. rejected: not accepted, or not in the parcel';

-- Numbers without gaps: a number is taken in the transaction that writes its document, while it holds this row.
CREATE TABLE document_series (
    series text NOT NULL,
    year integer NOT NULL,
    last integer NOT NULL DEFAULT 0,
    PRIMARY KEY (series, year)
);

CREATE TABLE documents (
    series text NOT NULL,
    year integer NOT NULL,
    number integer NOT NULL CHECK (number > 0),
    kind text NOT NULL CHECK (kind IN ('invoice', 'credit_note')),
    order_id uuid,
    refund_id uuid,
    currency text NOT NULL,
    total bigint NOT NULL,
    issued_at timestamptz NOT NULL DEFAULT now(),
    content jsonb NOT NULL,
    PRIMARY KEY (series, year, number),
    CHECK (CASE kind WHEN 'invoice' THEN order_id IS NOT NULL AND refund_id IS NULL ELSE refund_id IS NOT NULL END),
    CONSTRAINT documents_show_their_number CHECK (
        content ->> 'number' IS NOT DISTINCT FROM
            series || '-' || year || '-' || lpad(number::text, greatest(6, length(number::text)), '0'))
);
-- With the total, so that the audit reads the index and not what was printed.
CREATE UNIQUE INDEX documents_invoice_of ON documents (order_id) INCLUDE (total) WHERE kind = 'invoice';
CREATE UNIQUE INDEX documents_credit_note_of ON documents (refund_id) INCLUDE (total) WHERE kind = 'credit_note';
CREATE INDEX documents_credit_notes ON documents (order_id) WHERE kind = 'credit_note';
COMMENT ON TABLE documents IS 'invoices and credit notes as they were issued, append-only; content is what was printed';

CREATE TABLE invoicing (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    since timestamptz NOT NULL DEFAULT now(),
    done_to timestamptz NOT NULL DEFAULT '-infinity'
);
COMMENT ON COLUMN invoicing.since IS 'what was paid before is invoiced only on demand: it may have been, elsewhere';
INSERT INTO invoicing DEFAULT VALUES;
