package node

import (
	"context"

	"eblnode/envelope"
)

// A storedRejection is a row of rejections, with what else is known of its envelope.
type storedRejection struct {
	id                             int64
	hash, jwsSum                   envelope.Hash
	peer, code, refusal, rejection string
	at                             int64
	same                           int // rejections of the same request
}

func loadRejections(ctx context.Context, q querier, before int64, limit int) (list []storedRejection, err error) {
	err = each(ctx, q, `SELECT j.id, j.envelope_hash, j.jws_sum, j.peer, j.code, j.refusal, j.rejection, j.at,
	    (SELECT count(*) FROM rejections o WHERE o.envelope_hash = j.envelope_hash AND o.request_sum = j.request_sum AND o.peer = j.peer)
	  FROM rejections j WHERE j.id < ? ORDER BY j.id DESC LIMIT ?`, []any{before, limit}, func(scan func(...any) error) error {
		var r storedRejection
		err := scan(&r.id, sqlHash{&r.hash}, sqlHash{&r.jwsSum}, &r.peer, &r.code, &r.refusal, &r.rejection, &r.at, &r.same)
		list = append(list, r)
		return err
	})
	return list, err
}

// loadAudit reads the log from a row on, each with what its action must have left. The
// detail of an action about an envelope begins with its hash; that of a rejection ends
// with "request HASH answer HASH".
func loadAudit(ctx context.Context, q querier, from int64, limit int) (list []auditRow, err error) {
	err = each(ctx, q, `SELECT a.id, a.at, a.actor, a.action, a.detail, a.bill, a.hash,
	    b.id IS NOT NULL, coalesce(b.issuer, ''), r.peer, r.request_sum,
	    CASE WHEN a.action IN ('transfer.prepare', 'transfer.accepted', 'transfer.rejected', 'transfer.disputed')
	      THEN (SELECT x.state FROM transfers x WHERE x.bill = b.id AND x.envelope_hash = unhex(substr(a.detail, 1, 64))) END,
	    CASE WHEN a.action = 'transfer.reject'
	      THEN (SELECT j.refusal FROM rejections j WHERE j.envelope_hash = unhex(substr(a.detail, 1, 64)) AND j.code = substr(a.detail, 66, 4)
	        AND j.peer = a.actor AND j.request_sum = unhex(substr(a.detail, -136, 64))) END,
	    a.action IN ('bill.honour', 'verdict.take') AND EXISTS (SELECT 1 FROM verdicts v WHERE v.bill = b.id)
	  FROM audit a LEFT JOIN bills b ON b.document_hash = a.bill
	    LEFT JOIN receipts r ON a.action = 'transfer.accept' AND r.id >= b.id * 1048576 AND r.id < (b.id + 1) * 1048576
	      AND r.envelope_hash = unhex(substr(a.detail, 1, 64))
	  WHERE a.id >= ? ORDER BY a.id LIMIT ?`, []any{from, limit}, func(scan func(...any) error) error {
		var a auditRow
		err := scan(&a.id, &a.at, &a.actor, &a.action, &a.detail, &a.bill, &a.hash, &a.known, &a.issuer, &a.receiptPeer, &a.request,
			&a.transfer, &a.refusal, &a.verdict)
		list = append(list, a)
		return err
	})
	return list, err
}

// fsckOrphans looks for receipts that are for no entry: fsckBills goes from the entries.
func (n *Node) fsckOrphans(ctx context.Context, o FsckOptions, r *FsckReport) error {
	if o.Sample > 0 {
		return nil
	}
	return n.store.snapshot(ctx, func(q querier) error {
		return each(ctx, q, `SELECT r.envelope_hash, r.bill, r.idx FROM receipts r
		  LEFT JOIN entries e ON e.id = r.id AND e.id = r.bill * 1048576 + r.idx AND e.hash = r.envelope_hash WHERE e.id IS NULL`, nil,
			func(scan func(...any) error) error {
				var hash envelope.Hash
				var bill, idx int64
				if err := scan(sqlHash{&hash}, &bill, &idx); err != nil {
					return err
				}
				r.add(Finding{Table: "receipts", Row: "envelope " + hash.String(), Cure: cureEvidence,
					What: "bill, idx or envelope_hash: the receipt is for no entry of a chain here"})
				return nil
			})
	})
}
