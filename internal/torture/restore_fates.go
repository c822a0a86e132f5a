package main

import "context"

// An act is something that is done to a bill.
type act func(ctx context.Context, r *restore, b *fated) error

// A fate is what a bill is when the backup is made, and what becomes of it afterwards,
// before the database is lost. Node a is the one that is restored; b and d are well, and
// for c an impostor answers until the end, so that what is sent there stays in doubt.
// People are u0 and u1, issuer, and nobody, who is not there.
type fate struct {
	at, then string
	issued   string // which node issues it before the backup, to its u0; "" for after it
	before   []act
	after    []act
	// want is where it must be in the end, by node a: held with a user, away, void,
	// disputed, or unknown.
	want string
}

func (f fate) name() string { return f.at + "; then " + f.then }

// fates are the lawful ones: each state that a bill can be in on a node (DESIGN, section 4),
// and each way on from there. A transfer that is open at the time of the loss is one with
// nothing after it.
var fates = []fate{
	{at: "not there", then: "issued", after: []act{issue("a")}, want: "held u0"},
	{at: "not there", then: "received", issued: "b", after: []act{give("u0@b", "u0@a")}, want: "held u0"},
	{at: "not there", then: "received and endorsed", issued: "b", after: []act{give("u0@b", "u0@a"), give("u0@a", "u1@a")}, want: "held u1"},
	{at: "not there", then: "received and sent on", issued: "b", after: []act{give("u0@b", "u0@a"), give("u0@a", "u0@d")}, want: "away"},
	{at: "not there", then: "received, and home to its carrier, honoured", issued: "b",
		after: []act{give("u0@b", "u0@a"), back("surrender", "u0@a"), says("honour", "issuer@b")}, want: "void"},
	{at: "not there", then: "rejected by us", issued: "b", after: []act{refused("u0@b", "nobody@a")}, want: "unknown"},
	{at: "not there", then: "rejected by us, and sent to another platform", issued: "b",
		after: []act{refused("u0@b", "nobody@a"), give("u0@b", "u0@d")}, want: "unknown"},

	{at: "held", then: "nothing", issued: "a", want: "held u0"},
	{at: "held", then: "endorsed", issued: "a", after: []act{give("u0@a", "u1@a")}, want: "held u1"},
	{at: "held", then: "sent away", issued: "a", after: []act{give("u0@a", "u0@b")}, want: "away"},
	{at: "held", then: "sent away and home", issued: "a", after: []act{give("u0@a", "u0@b"), give("u0@b", "u1@a")}, want: "held u1"},
	{at: "held", then: "sent away, and on", issued: "a", after: []act{give("u0@a", "u0@b"), give("u0@b", "u0@d")}, want: "away"},
	{at: "held", then: "prepared and cancelled", issued: "a", after: []act{prepare, cancel}, want: "held u0"},
	{at: "held", then: "rejected", issued: "a", after: []act{refused("u0@a", "nobody@b")}, want: "held u0"},
	{at: "held", then: "rejected, and sent to another platform", issued: "a", after: []act{refused("u0@a", "nobody@b"), give("u0@a", "u0@d")}, want: "away"},
	{at: "held", then: "in doubt, never arrived", issued: "a", after: []act{doubt("u0@c")}, want: "away"},
	{at: "held", then: "in doubt, accepted, the answer lost", issued: "a", after: []act{doubt("u0@c"), deliver}, want: "away"},
	{at: "held", then: "in doubt, settled by the chain that came home", issued: "a", after: []act{doubt("u0@c"), deliver, give("u0@c", "u1@a")}, want: "held u1"},
	{at: "held", then: "in doubt, and operators: it never took it", issued: "a", after: []act{doubt("u0@c"), resolve("held")}, want: "held u0"},
	{at: "held", then: "in doubt, and operators: it has it", issued: "a", after: []act{doubt("u0@c"), deliver, resolve("away")}, want: "away"},
	{at: "held", then: "disputed", issued: "a", after: []act{doubt("u0@c"), dispute}, want: "disputed"},
	{at: "held", then: "disputed, and operators: it never took it", issued: "a", after: []act{doubt("u0@c"), dispute, resolve("held")}, want: "held u0"},
	{at: "held", then: "disputed, operators: never took it, sent to another platform", issued: "a",
		after: []act{doubt("u0@c"), dispute, resolve("held"), give("u0@a", "u0@d")}, want: "away"},
	{at: "held", then: "disputed, and operators: it has it", issued: "a", after: []act{doubt("u0@c"), deliver, dispute, resolve("away")}, want: "away"},
	{at: "held", then: "surrendered and honoured", issued: "a", after: []act{back("surrender", "u0@a"), says("honour", "issuer@a")}, want: "void"},
	{at: "held", then: "amended and replaced", issued: "a", after: []act{back("amend", "u0@a"), says("honour", "issuer@a")}, want: "void"},
	{at: "held", then: "switched to paper", issued: "a", after: []act{back("switch-to-paper", "u0@a"), says("honour", "issuer@a")}, want: "void"},
	{at: "held", then: "surrendered", issued: "a", after: []act{back("surrender", "u0@a")}, want: "held issuer"},
	{at: "held", then: "surrendered and declined", issued: "a", after: []act{back("surrender", "u0@a"), says("decline", "issuer@a")}, want: "held u0"},

	{at: "held, of another carrier", then: "surrendered and honoured", issued: "b", before: came, after: []act{back("surrender", "u0@a"), says("honour", "issuer@b")}, want: "void"},
	{at: "held, of another carrier", then: "amended and replaced", issued: "b", before: came, after: []act{back("amend", "u0@a"), says("honour", "issuer@b")}, want: "void"},
	{at: "held, of another carrier", then: "switched to paper", issued: "b", before: came, after: []act{back("switch-to-paper", "u0@a"), says("honour", "issuer@b")}, want: "void"},
	{at: "held, of another carrier", then: "surrendered", issued: "b", before: came, after: []act{back("surrender", "u0@a")}, want: "away"},
	{at: "held, of another carrier", then: "surrendered and declined", issued: "b", before: came, after: []act{back("surrender", "u0@a"), says("decline", "issuer@b")}, want: "held u0"},
	{at: "held, of another carrier", then: "sent home to it", issued: "b", before: came, after: []act{give("u0@a", "u1@b")}, want: "away"},

	// The first that is sent lets all go on, so what is cancelled comes before.
	{at: "prepared", then: "cancelled", issued: "a", before: []act{prepare}, after: []act{cancel}, want: "held u0"},
	{at: "prepared", then: "cancelled, and sent to another platform", issued: "a", before: []act{prepare}, after: []act{cancel, give("u0@a", "u0@d")}, want: "away"},
	{at: "prepared", then: "sent and accepted", issued: "a", before: []act{prepare}, after: []act{sent, arrives}, want: "away"},
	{at: "prepared", then: "sent, and never arrived", issued: "a", before: []act{prepare}, after: []act{sent}, want: "away"},
	{at: "prepared", then: "sent and accepted, the answer lost", issued: "a", before: []act{prepare}, after: []act{sent, deliver}, want: "away"},
	{at: "prepared", then: "sent, and settled by the chain that came home", issued: "a", before: []act{prepare}, after: []act{sent, deliver, give("u0@c", "u1@a")}, want: "held u1"},
	{at: "prepared", then: "sent and rejected", issued: "a", before: []act{prepareTo("nobody@c")}, after: []act{sent, rejects}, want: "held u0"},

	{at: "in doubt", then: "nothing", issued: "a", before: []act{doubt("u0@c")}, want: "away"},
	{at: "in doubt", then: "accepted", issued: "a", before: []act{doubt("u0@c")}, after: []act{arrives}, want: "away"},
	{at: "in doubt", then: "accepted, the answer lost", issued: "a", before: []act{doubt("u0@c")}, after: []act{deliver}, want: "away"},
	{at: "in doubt, accepted", then: "the receipt came", issued: "a", before: []act{doubt("u0@c"), deliver}, after: []act{arrives}, want: "away"},
	{at: "in doubt", then: "rejected", issued: "a", before: []act{doubt("nobody@c")}, after: []act{rejects}, want: "held u0"},
	{at: "in doubt", then: "rejected, and sent to another platform", issued: "a", before: []act{doubt("nobody@c")}, after: []act{rejects, give("u0@a", "u0@d")}, want: "away"},
	{at: "in doubt", then: "settled by the chain that came home", issued: "a", before: []act{doubt("u0@c")}, after: []act{deliver, give("u0@c", "u1@a")}, want: "held u1"},
	{at: "in doubt", then: "operators: it never took it", issued: "a", before: []act{doubt("u0@c")}, after: []act{resolve("held")}, want: "held u0"},
	{at: "in doubt", then: "operators: never took it, sent to another platform", issued: "a", before: []act{doubt("u0@c")}, after: []act{resolve("held"), give("u0@a", "u0@d")}, want: "away"},
	{at: "in doubt", then: "operators: it has it", issued: "a", before: []act{doubt("u0@c"), deliver}, after: []act{resolve("away")}, want: "away"},
	{at: "in doubt", then: "disputed", issued: "a", before: []act{doubt("u0@c")}, after: []act{dispute}, want: "disputed"},

	{at: "disputed", then: "nothing", issued: "a", before: []act{doubt("u0@c"), dispute}, want: "disputed"},
	{at: "disputed", then: "operators: it never took it", issued: "a", before: []act{doubt("u0@c"), dispute}, after: []act{resolve("held")}, want: "held u0"},
	{at: "disputed", then: "operators: never took it, sent to another platform", issued: "a", before: []act{doubt("u0@c"), dispute}, after: []act{resolve("held"), give("u0@a", "u0@d")}, want: "away"},
	{at: "disputed", then: "operators: it has it", issued: "a", before: []act{doubt("u0@c"), deliver, dispute}, after: []act{resolve("away")}, want: "away"},

	{at: "returned to us", then: "nothing", issued: "a", before: []act{back("surrender", "u0@a")}, want: "held issuer"},
	{at: "returned to us", then: "honoured", issued: "a", before: []act{back("surrender", "u0@a")}, after: []act{says("honour", "issuer@a")}, want: "void"},
	{at: "returned to us", then: "amended and replaced", issued: "a", before: []act{back("amend", "u0@a")}, after: []act{says("honour", "issuer@a")}, want: "void"},
	{at: "returned to us", then: "declined", issued: "a", before: []act{back("surrender", "u0@a")}, after: []act{says("decline", "issuer@a")}, want: "held u0"},
	{at: "returned to us from elsewhere", then: "honoured", issued: "a", before: []act{give("u0@a", "u0@b"), back("surrender", "u0@b")}, after: []act{says("honour", "issuer@a")}, want: "void"},
	{at: "returned to us from elsewhere", then: "declined", issued: "a", before: []act{give("u0@a", "u0@b"), back("surrender", "u0@b")}, after: []act{says("decline", "issuer@a")}, want: "away"},

	{at: "away", then: "nothing", issued: "a", before: []act{give("u0@a", "u0@b")}, want: "away"},
	{at: "away", then: "came home", issued: "a", before: []act{give("u0@a", "u0@b")}, after: []act{give("u0@b", "u1@a")}, want: "held u1"},
	{at: "away", then: "returned to us", issued: "a", before: []act{give("u0@a", "u0@b")}, after: []act{back("surrender", "u0@b")}, want: "held issuer"},
	{at: "away, returned to its carrier", then: "honoured", issued: "b", before: append(came[:1:1], back("surrender", "u0@a")), after: []act{says("honour", "issuer@b")}, want: "void"},
	{at: "away, returned to its carrier", then: "declined", issued: "b", before: append(came[:1:1], back("surrender", "u0@a")), after: []act{says("decline", "issuer@b")}, want: "held u0"},
	{at: "void", then: "nothing", issued: "a", before: []act{back("surrender", "u0@a"), says("honour", "issuer@a")}, want: "void"},
}

// came is how a bill of another carrier got to us.
var came = []act{give("u0@b", "u0@a")}
