package node_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"

	"golang.org/x/sync/errgroup"
)

// A busyNode is a node with at least one row in every table.
func busyNode(t *testing.T) *ebltest.Platform {
	t.Helper()
	w := ebltest.New(t)
	// Yesterday something happened, so that its log is signed. That clock stands still, or a
	// slow start would end today.
	yesterday := time.Now().UTC().Truncate(day).Add(-time.Second)
	var now atomic.Bool
	desk := newDesk(t)
	a := w.Platform("a.example", ebltest.Manual(), desk.asks(), ebltest.Configure(func(c *node.Config) {
		c.Now = func() time.Time {
			if now.Load() {
				return time.Now()
			}
			return yesterday
		}
	}))
	a.User("issuer", node.IssuerRole)
	now.Store(true)
	a.Restart()
	stop := a.Run()
	b, c := w.Platform("b.example"), w.Platform("c.example", ebltest.NotIssuer(), ebltest.Manual())
	issuer, al, ann, bob := a.User("issuer", node.IssuerRole), a.User("al"), a.User("ann"), b.User("bob")
	mustDo := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	mustDo(a.Node().DisableUser(t.Context(), "test", a.User("gone").Local))
	for _, local := range []string{"back", "twice"} {
		mustDo(a.Node().DisableUser(t.Context(), "test", a.User(local).Local))
		_, err := a.Node().ReplaceToken(t.Context(), "test", local)
		mustDo(err)
	}
	mustDo(a.Node().DisableUser(t.Context(), "test", "twice"))
	for _, seconds := range [][]string{{"gone"}, nil, {"back", "twice", "back"}} {
		mustDo(a.Node().SetApprovers(t.Context(), "test", a.User("four").Local, seconds))
	}
	// Away and home again, with steps inside the platform on both ways.
	doc := a.Issue(al.ID)
	a.Transfer(al, doc, ann.ID)
	a.Transfer(ann, doc, bob.ID)
	b.Transfer(bob, doc, al.ID)
	a.Transfer(al, doc, ann.ID)
	// Rejected; then in doubt.
	held := a.Issue(al.ID)
	a.Settled(a.Move(al, held, envelope.Transfer, "nobody@b.example").Transfer, node.Rejected)
	x := tap(w)
	x.answer(func(from, to identity.Host, r node.Request, pass func() (node.Reply, error)) (node.Reply, error) {
		if to == c.Domain() {
			return lose(from, to, r, pass)
		}
		return pass()
	})
	doubt := a.Issue(al.ID)
	a.Move(al, doubt, envelope.Transfer, c.User("carl").ID)
	waitFor(t, "an attempt", func() bool { return a.View(doubt).Transfer.Attempts > 0 })
	// Returned and honoured, here and by b; returned and not answered.
	gone := a.Issue(bob.ID)
	b.Settled(b.Move(bob, gone, envelope.Surrender, issuer.ID).Transfer, node.Accepted)
	_, err := a.Node().Honour(t.Context(), issuer.User, gone, node.HonourOrder{})
	mustDo(err)
	bIssuer := b.User("issuer", node.IssuerRole)
	for _, answered := range []bool{true, false} {
		theirs := b.Issue(al.ID)
		a.Settled(a.Move(al, theirs, envelope.Surrender, bIssuer.ID).Transfer, node.Accepted)
		if answered {
			_, err := b.Node().Honour(t.Context(), bIssuer.User, theirs, node.HonourOrder{})
			mustDo(err)
			waitFor(t, "the verdict", func() bool { return a.View(theirs).Control == node.Voided })
		}
	}
	// A dishonest issuer signs twice.
	root := chainOf(b, issue("ben@b.example"))
	mustAccept(t, a, b, b.Extend(root, transfer(al.ID)))
	r, err := a.Put(b, b.Extend(root, transfer(ann.ID)))
	if err != nil || r.Rejection == "" {
		t.Fatalf("got %+v and %v, want DISE", r, err)
	}
	// From and to a platform that an authority vouches for.
	e := w.Platform("e.example", desk.under())
	e.Transfer(e.User("eve"), e.Issue(e.User("eve").ID), al.ID)
	a.Transfer(al, a.Issue(al.ID), e.User("eve").ID)
	_, err = a.Node().Archive(t.Context(), "test", t.TempDir(), false)
	mustDo(err)
	decided(t, a, x, c)
	mustDo(a.Node().RemovePeer(t.Context(), "test", w.Platform("z.example", ebltest.Manual()).Domain()))
	stop()
	mustBeClean(t, a)
	return a
}

// decided has operators and second persons decide, so that there are rows of it: a transfer
// in doubt, a block, orders that wait, a hold, a system of a customer.
func decided(t *testing.T, a *ebltest.Platform, x *wire, silent *ebltest.Platform) {
	t.Helper()
	mustDo := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	one, two := a.User("one", node.OperatorRole), a.User("two", node.OperatorRole)
	x.answer(drop)
	al, four := a.User("al"), a.User("four")
	doubt := a.Issue(al.ID)
	id := a.Move(al, doubt, envelope.Transfer, silent.User("carl").ID).Transfer
	waitFor(t, "an attempt", func() bool { return a.View(doubt).Transfer.Attempts > 0 })
	for _, s := range []struct {
		by *ebltest.User
		o  node.ResolveOrder
	}{{one, proposal("away")}, {two, proposal("held")}, {one, confirmation("held")}} {
		_, err := a.Node().Resolve(t.Context(), s.by.User, id, s.o)
		mustDo(err)
	}
	body, _ := silent.Offer(al.ID)
	for _, by := range []*ebltest.User{one, two} {
		_, _, err := a.Node().RejectRefused(t.Context(), by.User, node.RejectOrder{Block: body, Reason: "it is not wanted"})
		mustDo(err)
	}
	for _, what := range []string{"pending", "approved", "rejected"} {
		done, err := a.Node().Move(t.Context(), four.User, a.Issue(four.ID), transferTo(al.ID, what))
		switch p := mustWait(t, done, err); what {
		case "approved":
			mustApprove(t, a, "back", p)
		case "rejected":
			_, err := a.Node().RejectApproval(t.Context(), a.User("back").User, p.ID, "not this one", node.Once{})
			mustDo(err)
		}
	}
	mustDo(a.Node().Hold(t.Context(), "test", doubt, "a claim", false))
	ring, err := identity.GenerateSigner(a.Domain(), identity.ES256, identity.CertificateSpec{Subject: "erp", NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)})
	mustDo(err)
	jwk, err := ring.Key.JWK()
	mustDo(err)
	mustDo(a.Node().AddSystem(t.Context(), "test", node.System{Name: "erp", Keys: fmt.Appendf(nil, `{"keys":[%s]}`, jwk),
		Customers: []node.Customer{{ID: "CUST2", Local: "al"}, {ID: "CUST1", Local: "ann"}}}))
}

// unchecked are the columns, and whole tables, of which nothing signed and nothing
// hashed tells what they should be, and why that does no harm.
var unchecked = map[string]string{
	"bills.version":            "only ever compared with itself",
	"bills.created_at":         "shown",
	"bills.changed_at":         "shown",
	"entries.stored_at":        "shown; it proves that the signature is older than a theft of the key, and no signature tells it",
	"evidence.checked_at":      "that the answers hold for it is checked",
	"evidence_parts.id":        "a name",
	"transfers.id":             "a random name",
	"transfers.seq":            "order",
	"transfers.created_at":     "shown",
	"transfers.sent_at":        "shown",
	"transfers.attempts":       "back-off",
	"transfers.next_at":        "back-off",
	"transfers.last_at":        "shown",
	"transfers.last_answer":    "shown; not signed, so not believed",
	"transfers.settled_at":     "shown; the verdict has its own time",
	"verdicts.at":              "the same",
	"verdict_polls.attempts":   "back-off",
	"verdict_polls.next_at":    "back-off",
	"branches.id":              "a name",
	"branches.at":              "shown",
	"rejections.id":            "a name",
	"evidence_keys.first_used": "shown",
	"peers.added_at":           "shown",
	"peers.removed_at":         "that it is there is checked",
	"users.name":               "shown",
	"users.created_at":         "shown",
	"node.id":                  "always 1",
	"events":                   "what back ends are told; decides nothing",
	"orders":                   "what a user's key was used for; decides nothing that is not in the other tables",
	"attempts":                 "shown; not signed, so not believed",
	"witness.id":               "always 1",
	"witness.started":          "compared with the journal at each start",
	"witness.log":              "compared with the journal at each start",
	"witness.frozen":           "why an operator must act; the audit log tells it too",
	"witness_pending":          "compared with the journal at each start",
	"quarantine":               "compared with the journal at each start",
	"refused":                  "shown; decides nothing",
	"late_answers":             "in TestLateAnswerAfterAResolveIsKeptAndMovesNothing",
	"proposals.id":             "a name",
	"late_answers.id":          "the same",
	"releases.id":              "the same",
	"proposals.withdrawn_at":   "that it is there, and another in its place, is checked",
	"approvals.seq":            "order",
	"approvals.key":            "what a user's key was used for; decides nothing that is not in the other tables",
	"approvals.key_sum":        "the same",
	"approvals.outcome":        "shown; the transfer that it names is in its own table",
	"systems.created_at":       "shown",
	"deletions":                "that the document is gone, of a bill that is over, and told by the log, is checked; none is here",
	"releases":                 "in TestFsckNamesForgedReleases",
	"spent_tokens":             "tokens that were used once; without a row one could be used again until its end",
	"webhooks":                 "configuration",
	"webhook_retries":          "what back ends are still to be told; decides nothing",
}

// A change is one column of one row, changed behind the node's back and put back.
type change struct{ table, column, where string }

// TestFsckNamesEveryChangedColumn changes each column of each row of each table, one at a
// time. A table or column that is new must be checked, or excused above.
func TestFsckNamesEveryChangedColumn(t *testing.T) {
	a := busyNode(t)
	unlock(t, a)
	for _, table := range tables(t, a) {
		if _, excused := unchecked[table]; !excused {
			nameEach(t, a, table)
		}
	}
	mustBeClean(t, a)
}

// nameEach changes each column of each row of a table.
func nameEach(t *testing.T, a *ebltest.Platform, table string) {
	t.Helper()
	rows := everyRow(t, a, table)
	if len(rows) == 0 {
		t.Errorf("the table %s is empty: nothing was tried", table)
	}
	for _, r := range rows {
		for column, value := range r.values {
			if _, excused := unchecked[table+"."+column]; excused || value == nil {
				continue
			}
			mustName(t, a, change{table, column, r.where}, value)
		}
	}
}

// unlock takes the database's own guards away, as somebody who writes to it would.
func unlock(t *testing.T, p *ebltest.Platform) {
	t.Helper()
	for _, r := range query(t, p, "SELECT name FROM sqlite_master WHERE type = 'trigger'") {
		node.Exec(t, p.Node(), "DROP TRIGGER "+r["name"].(string))
	}
	node.Exec(t, p.Node(), "PRAGMA ignore_check_constraints = 1")
	node.Exec(t, p.Node(), "PRAGMA foreign_keys = 0")
}

func query(t *testing.T, p *ebltest.Platform, q string) []record {
	t.Helper()
	db := snapshot(t, p)
	defer release(t, db)
	return queryRows(t, db, q)
}

func tables(t *testing.T, p *ebltest.Platform) (list []string) {
	for _, r := range query(t, p, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'goose%' AND name NOT LIKE 'sqlite%' ORDER BY name") {
		list = append(list, r["name"].(string))
	}
	return list
}

type dbRow struct {
	where  string // finds it by its primary key
	key    []string
	values record
}

func everyRow(t *testing.T, p *ebltest.Platform, table string) (list []dbRow) {
	t.Helper()
	var key []string
	for _, c := range query(t, p, "SELECT name FROM pragma_table_info('"+table+"') WHERE pk > 0 ORDER BY pk") {
		key = append(key, c["name"].(string))
	}
	for _, values := range query(t, p, "SELECT * FROM "+table) {
		var terms []string
		for _, k := range key {
			terms = append(terms, k+" = "+literal(values[k]))
		}
		list = append(list, dbRow{strings.Join(terms, " AND "), key, values})
	}
	return list
}

func literal(v any) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case []byte:
		return fmt.Sprintf("x'%x'", v)
	case string:
		return "'" + strings.ReplaceAll(v, "'", "''") + "'"
	}
	return fmt.Sprint(v)
}

// other is another value that could stand in the column.
func other(column string, v any) any {
	for _, words := range [][]string{
		{"active", "surrenderPending"}, {"held", "away"}, {"locked", "held"}, {"void", "held"}, {"disputed", "held"},
		{"accepted", "rejected"}, {"sending", "cancelled"}, {"rejected", "accepted"}, {"receipt", "chain"}, {"rejection", "receipt"}, {"chain", "receipt"},
		{"BENV", "BSIG"}, {"DISE", "BENV"}, {"TRNS", "SURR"}, {"SURR", "TRNS"}, {"holder", "issuer"}, {"issuer", "holder"}, {"v1", "v3"},
		{"a.example", "q.example"}, {"b.example", "q.example"},
	} {
		if v == words[0] {
			return words[1]
		}
	}
	switch v := v.(type) {
	case int64:
		if column == "live" || column == "to_order" || column == "disabled" {
			return 1 - v
		}
		if column == "at" {
			return v - 2000
		}
		return v + 1000
	case []byte:
		b := slices.Clone(v)
		b[len(b)/2] ^= 1
		return b
	case string:
		if strings.HasPrefix(v, "ey") { // in the payload of a JWS
			b := []byte(v)
			b[strings.IndexByte(v, '.')+9] ^= 3
			return string(b)
		}
		return "x" + v
	}
	panic(fmt.Sprintf("%s holds %T", column, v))
}

func mustName(t *testing.T, p *ebltest.Platform, c change, value any) {
	t.Helper()
	changed := other(c.column, value)
	node.Exec(t, p.Node(), "UPDATE OR IGNORE "+c.table+" SET "+c.column+" = "+literal(changed)+" WHERE "+c.where)
	r, err := p.Node().Fsck(t.Context(), node.FsckOptions{})
	if err != nil {
		t.Fatalf("%+v: %v", c, err)
	}
	where := strings.ReplaceAll(c.where, c.column+" = "+literal(value), c.column+" = "+literal(changed))
	node.Exec(t, p.Node(), "UPDATE "+c.table+" SET "+c.column+" = "+literal(value)+" WHERE "+where)
	named := slices.ContainsFunc(r.Findings, func(f node.Finding) bool { return f.Table == c.table && f.What != "" && f.Cure != "" })
	if !named {
		t.Errorf("%s.%s where %.80s: %.60v became %.60v; got %v", c.table, c.column, c.where, show(value), show(changed), r.Findings)
	}
}

// newest are the tables of which nothing tells whether the newest row is still there: of
// those nothing follows it yet.
var newest = map[string]bool{"audit_roots": true}

// TestFsckNamesEveryDeletedRow takes each row away, one at a time.
func TestFsckNamesEveryDeletedRow(t *testing.T) {
	a := busyNode(t)
	unlock(t, a)
	for _, table := range tables(t, a) {
		if _, excused := unchecked[table]; excused || table == "node" {
			continue
		}
		for _, r := range everyRow(t, a, table) {
			node.Exec(t, a.Node(), "DELETE FROM "+table+" WHERE "+r.where)
			report, err := a.Node().Fsck(t.Context(), node.FsckOptions{})
			if err != nil {
				t.Fatalf("%s: %v", table, err)
			}
			if report.Clean() && !newest[table] {
				t.Errorf("%s where %.80s was taken away, and fsck says that it is clean", table, r.where)
			}
			var names, values []string
			for name, v := range r.values {
				names, values = append(names, name), append(values, literal(v))
			}
			node.Exec(t, a.Node(), "INSERT INTO "+table+" ("+strings.Join(names, ", ")+") VALUES ("+strings.Join(values, ", ")+")")
		}
	}
	mustBeClean(t, a)
}

// TestFsckWhileTheNodeGoesOn: what is under way is not wrong, nor are peers and users that
// came since the check began.
func TestFsckWhileTheNodeGoesOn(t *testing.T) {
	t.Parallel()
	w := ebltest.New(t)
	many := ebltest.Configure(func(c *node.Config) { c.VerdictsPerHour = 1 << 30 })
	a, b := w.Platform("a.example", many), w.Platform("b.example", many)
	al, bob := a.User("al"), b.User("bob")
	group, ctx := errgroup.WithContext(t.Context())
	// Each check lets a few bills go on beside it, or there is ever more to check.
	begin := make(chan int, 4)
	for range 4 {
		group.Go(func() error {
			for i := range begin {
				doc := a.Issue(al.ID)
				a.Transfer(al, doc, bob.ID)
				if _, err := b.Node().Move(ctx, bob.User, doc, node.MoveOrder{Instruction: envelope.Transfer, To: ebltest.Quote("nobody@a.example")}); err != nil {
					return err
				}
				if i%10 == 0 {
					a.User(fmt.Sprintf("u%d", i))
				}
			}
			return nil
		})
	}
	check := func(i int, p *ebltest.Platform, o node.FsckOptions) {
		for k := range 4 {
			select {
			case begin <- 4*i + k:
			case <-ctx.Done():
			}
		}
		if r, err := p.Node().Fsck(t.Context(), o); err != nil || !r.Clean() || o.Sample > 0 && (r.Bills > o.Sample || !r.Sampled) {
			t.Errorf("%s, sample %d: got %+v and %v", p.Domain(), o.Sample, r, err)
		}
	}
	rounds := 15
	if testing.Short() {
		rounds = 6
	}
	for i := range rounds {
		if i == 5 {
			w.Platform("c.example")
		}
		for k, p := range []*ebltest.Platform{a, b} {
			check(4*i+2*k, p, node.FsckOptions{})
			check(4*i+2*k+1, p, node.FsckOptions{Sample: 5})
		}
	}
	close(begin)
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	checkAll(t, w)
}

// BenchmarkFsck checks bills that were issued, moved inside the platform and sent away, of
// which half came from there: bills/s is what counts.
func BenchmarkFsck(b *testing.B) {
	const bills = 1000
	w := ebltest.New(b)
	a, c := w.Platform("a.example"), w.Platform("c.example")
	al, ann, carl := a.User("al"), a.User("ann"), c.User("carl")
	group, _ := errgroup.WithContext(b.Context())
	group.SetLimit(32)
	for i := range bills {
		group.Go(func() error {
			if i%2 == 0 {
				c.Issue(ann.ID)
				return nil
			}
			doc := a.Issue(al.ID)
			a.Transfer(al, doc, ann.ID)
			a.Transfer(ann, doc, carl.ID)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		r, err := a.Node().Fsck(b.Context(), node.FsckOptions{})
		if err != nil || !r.Clean() {
			b.Fatalf("got %+v and %v", r, err)
		}
	}
	b.ReportMetric(float64(bills*b.N)/b.Elapsed().Seconds(), "bills/s")
}
