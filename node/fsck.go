package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"

	"eblnode/envelope"

	"golang.org/x/sync/errgroup"
)

// A Finding is one thing in the database that is not as its signed bytes say.
type Finding struct {
	// Table of the database; "database" where its pages are meant.
	Table string
	// Bill is the document hash; zero where no one bill is meant.
	Bill envelope.Hash
	// Row says which row: "entry 3", "transfer 5f…". Empty where the bill says it.
	Row string
	// What is wrong, a sentence for a person. A wrong column is named first.
	What string
	// Cure is what an operator should do.
	Cure string
}

func (f Finding) String() string {
	s := f.Table
	if !f.Bill.IsZero() {
		s += " bill " + f.Bill.String()
	}
	if f.Row != "" {
		s += " " + f.Row
	}
	return s + ": " + f.What
}

// What an operator can do. What is signed cannot be made again, so the cure of damage is
// a backup; that of a lie is to keep it as evidence.
const (
	cureBackup   = "let nobody move this bill; restore the newest backup and keep this database as evidence"
	cureEvidence = "somebody wrote to the database beside the node: keep it as evidence, find out who, and restore the newest backup"
	curePages    = "stop the node, copy the folder, and restore the newest backup"
	cureTrust    = "add the trust entry of that platform again: eblnode peer add FILE"
	cureState    = "let nobody move this bill; what the signed bytes say is right, so restore the newest backup and keep this database as evidence"
	cureKey      = "put the certificate of that key back into keys/"
)

// maxFindings is how many findings a report holds: a damaged database has no end of them.
const maxFindings = 10_000

// FsckOptions say how much is looked at.
type FsckOptions struct {
	// Sample is how many bills are looked at, chosen at random, with all that hangs on
	// them; of the rejections and of the audit log as many of the newest. The pages of the
	// database are not read through. 0: everything.
	Sample int
	// Progress, if not nil, is called now and then with how many bills are done.
	Progress func(done, total int)
}

// A FsckReport is what fsck looked at and found.
type FsckReport struct {
	Bills, Entries, Steps, Transfers, Receipts, Rejections, Branches, AuditRows, AuditRoots int

	Sampled  bool
	Findings []Finding
	// Omitted is how many findings there are beyond those listed.
	Omitted int
	Took    time.Duration
}

// Clean reports whether nothing was found.
func (r *FsckReport) Clean() bool { return len(r.Findings) == 0 }

func (r *FsckReport) add(list ...Finding) {
	room := min(len(list), maxFindings-len(r.Findings))
	r.Findings = append(r.Findings, list[:room]...)
	r.Omitted += len(list) - room
}

// Fsck derives every chain and every control state again from the stored bytes, and
// compares: signatures, links and the law of each chain; steps, transfers, receipts and
// rejections; what the bills table says of it; the audit log; the witness; the pages.
// It changes nothing. The node may go on meanwhile: each bill is read in one snapshot,
// and no snapshot is held for long, since the log of the database grows under it.
//
// An error means that it could not tell: nothing is said about what was not read.
func (n *Node) Fsck(ctx context.Context, o FsckOptions) (*FsckReport, error) {
	start := time.Now()
	r := &FsckReport{Sampled: o.Sample > 0}
	if o.Sample == 0 {
		list, err := n.store.checkPages(ctx)
		if err != nil {
			return nil, err
		}
		r.add(list...)
	}
	for _, part := range []func(context.Context, FsckOptions, *FsckReport) error{n.fsckBills, n.fsckRejections, n.fsckAudit, n.fsckRoots, n.fsckOrphans, n.fsckWitness} {
		if err := part(ctx, o, r); err != nil {
			if len(r.Findings) > 0 && damaged(err) {
				break // the pages cannot be read: that is among the findings
			}
			return nil, fmt.Errorf("checking the database: %w", err)
		}
	}
	r.Took = time.Since(start)
	return r, nil
}

// batchBills and batchBytes bound what is read in one snapshot and held at once.
const (
	batchBills = 128
	batchBytes = 4 << 20
)

func (n *Node) fsckBills(ctx context.Context, o FsckOptions, r *FsckReport) error {
	l, err := n.ledger(ctx, r)
	if err != nil {
		return err
	}
	ids, err := n.store.billSizes(ctx)
	if err != nil {
		return err
	}
	if o.Sample > 0 && o.Sample < len(ids) {
		rand.Shuffle(len(ids), func(i, k int) { ids[i], ids[k] = ids[k], ids[i] })
		ids = ids[:o.Sample]
		slices.SortFunc(ids, func(a, b billSize) int { return int(a.id - b.id) })
	}
	r.Bills = len(ids)
	var mu sync.Mutex // of r
	group, checkCtx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	done := 0
	for len(ids) > 0 {
		count, bytes := 1, ids[0].bytes
		// A sample is not dense: what lies between would be read in vain.
		for count < len(ids) && count < batchBills && bytes < batchBytes && ids[count].id-ids[count-1].id == 1 {
			bytes += ids[count].bytes
			count++
		}
		files, err := n.store.loadFiles(checkCtx, ids[0].id, ids[count-1].id)
		if err != nil {
			return errors.Join(err, group.Wait())
		}
		ids = ids[count:]
		group.Go(func() error {
			ours := l
			for _, f := range files {
				list := ours.checkBill(f)
				if len(list) > 0 && ours == l {
					// The node goes on: peers and keys may have come since l was read.
					var err error
					if ours, err = n.ledger(checkCtx, &FsckReport{}); err != nil {
						return err
					}
					list = ours.checkBill(f)
				}
				mu.Lock()
				r.add(list...)
				r.Entries += len(f.entries)
				r.Steps += len(f.steps)
				r.Transfers += len(f.transfers)
				r.Receipts += len(f.receipts)
				r.Branches += len(f.branches)
				done++
				mu.Unlock()
			}
			if o.Progress != nil {
				mu.Lock()
				defer mu.Unlock()
				o.Progress(done, r.Bills)
			}
			return checkCtx.Err()
		})
	}
	return group.Wait()
}
