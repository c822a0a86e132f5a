package report

import (
	"fmt"
	"html"
	"strings"

	"eblnode/judge"
)

// height is that of the row of a leg.
func (c *canvas) height(x *row) int {
	l := x.leg
	h := 50
	if l.Kind == "verdict" {
		h += 18
	}
	for _, s := range moves(l) {
		h += 34
		if s.Skipped > 0 {
			h += 20
		}
	}
	for _, extra := range []struct {
		there bool
		n     int
	}{{l.Link == judge.Failed, 28}, {l.Broken, 17}, {l.Receipt != "", 24}, {l.Rejection != "", 24}, {l.After > 0, 18}} {
		if extra.there {
			h += extra.n
		}
	}
	return h
}

// moves are the transactions of a leg that are drawn.
func moves(l *judge.Leg) []shown[judge.LegTransaction] {
	return ends(l.Transactions, maxTransactions, func(t *judge.LegTransaction) bool { return t.Broken })
}

// leg draws one envelope, step, other continuation or carrier's verdict.
func (d *drawing) leg(x *row, height int) {
	l := x.leg
	top := 0
	if l.Link == judge.Failed {
		top = 28 // room to see it
	}
	title := map[string]string{"entry": "Envelope", "step": "Step", "branch": "Other continuation", "verdict": "The carrier's verdict"}[l.Kind]
	if l.Kind != "verdict" {
		title += fmt.Sprintf(" %d", l.Index)
	}
	when := title + " · " + l.SignedAt.UTC().Format("2 Jan 2006 15:04")
	d.say("%s, %s", when, l.Platform)
	if d.shared(l.Platform) {
		when += " · " + l.Platform
	}
	left := gutter - 3
	if l.Kind == "branch" {
		left += 8
	}
	d.f(`<rect x="%d" y="%d" width="%d" height="%d" rx="6" class="row%s"/>`, left, top+3, d.width-left-2, height-top-6, d.tone(l))
	d.chain(x, top, height)
	d.f(`<text x="%d" y="%d" class="when">%s</text>`, left+7, top+18, html.EscapeString(fit(when, 10.5, float64(d.width-left-14))))
	y := top + 18
	if l.Broken {
		y += 17
		mark := "✗ "
		if d.report.Verdict != judge.Invalid {
			mark = "? "
		}
		d.f(`<text x="%d" y="%d" class="warn%s">%s</text>`, left+7, y, d.tone(l), html.EscapeString(fit(mark+d.report.Rule, 11, float64(d.width-left-14))))
		d.say("The verdict is about this: %s", d.report.Rule)
	}
	d.seal(l, d.x(l.Platform), y+15)
	y += 40
	for _, s := range moves(l) {
		if s.Skipped > 0 {
			d.f(`<text x="%d" y="%d" class="more">… %d more transactions</text>`, left+7, y+2, s.Skipped)
			d.say("%d more transactions", s.Skipped)
			y += 20
		}
		d.transaction(l, &s.Item, y)
		y += 34
	}
	if l.Kind == "verdict" {
		d.honour(l, y+1)
	}
	if l.Receipt != "" {
		d.answer(l, y-6, "receipt", l.Receipt, "answer")
		y += 24
	}
	if l.Rejection != "" {
		d.answer(l, y-6, "rejected "+l.Code, l.Rejection, "refusal")
		y += 24
	}
	if l.After > 0 {
		d.f(`<text x="%d" y="%d" class="more">and %s after it</text>`, left+7, y, envelopes(l.After))
		d.say("and %s after it", envelopes(l.After))
	}
}

func envelopes(n int) string {
	if n == 1 {
		return "1 envelope"
	}
	return fmt.Sprintf("%d envelopes", n)
}

// tone is the class of a row, and of what stands in it about the verdict.
func (d *drawing) tone(l *judge.Leg) string {
	switch {
	case l.Broken && d.report.Verdict != judge.Invalid:
		return " unsure"
	case l.Broken || l.Signer == judge.Failed || l.Hash == judge.Failed || l.Link == judge.Failed || l.Receipt == judge.Failed || l.Rejection == judge.Failed:
		return " bad"
	}
	return ""
}

// chain draws the block of a leg in the hash chain, its link to what is before, whole or
// broken and red, and the rail to other continuations.
func (d *drawing) chain(x *row, top, height int) {
	l := x.leg
	at, half := block, 12
	switch {
	case l.Kind == "branch":
		at, half = side, 8
		if x.above && x.below || x.below {
			d.f(`<path d="M%d -1V%d" class="link"/>`, block, height+1) // the chain goes on beside it
		}
		if x.rail.ends && l.Link != judge.Failed {
			d.f(`<path d="M%d -1V%d" class="rail"/>`, at, top+10)
		}
	case x.above && l.Link != judge.Failed:
		d.f(`<path d="M%d -1V%d" class="link"/>`, at, top+10)
	}
	if l.Link == judge.Failed {
		what := "hash link broken"
		if l.Kind == "entry" && l.Index == 0 {
			what = "hash link to an envelope before the first"
		}
		d.f(`<path d="M%d -1V%d" class="link broken"/><path d="M%d 6l12 12m0 -12l-12 12" class="cross"/><text x="%d" y="17" class="warn bad">%s</text>`, at, top+8, at-6, gutter+6, what)
		d.say("%s", what)
	}
	if x.below && l.Kind != "branch" {
		d.f(`<path d="M%d %dV%d" class="link"/>`, at, height-10, height+1)
	}
	if x.rail.passes {
		d.f(`<path d="M%d -1V%d" class="rail"/>`, side, height+1)
	}
	if x.rail.begins {
		d.f(`<path d="M%d %dH%dQ%d %d %d %dV%d" class="rail"/>`, at+half, height-26, side-5, side, height-26, side, height-21, height+1)
	}
	class := "block"
	switch {
	case l.Hash == judge.Failed:
		class += " broken"
	case l.Kind != "entry":
		class += " " + l.Kind
	}
	mark := fmt.Sprint(l.Index)
	if l.Kind == "verdict" {
		mark = "§"
	}
	d.f(`<g><title>%s</title><rect x="%d" y="%d" width="%d" height="%d" rx="5" class="%s"/><text x="%d" y="%d" class="n">%s</text></g>`,
		text("envelopeHash "+l.Envelope, 90), at-half, top+8, 2*half, height-top-16, class, at, top+(height-top)/2+4, mark)
	if l.Hash == judge.Failed {
		d.say("envelopeHash is not the hash of what was signed")
	}
}

// gap tells that rows were left out.
func (d *drawing) gap(n, height int, next *row) {
	if next.above {
		d.f(`<path d="M%d -1V%d" class="link gap"/>`, block, height+1)
	}
	if next.rail.passes || next.rail.ends {
		d.f(`<path d="M%d -1V%d" class="rail"/>`, side, height+1)
	}
	d.f(`<text x="%d" y="%d" class="more">… %s more, checked, not drawn</text>`, gutter+6, height/2+4, envelopes(n))
	d.say("%s more, checked, not drawn", envelopes(n))
}

// seal is the signature of a leg, on the lane of who signed.
func (d *drawing) seal(l *judge.Leg, x, y int) {
	class, label := "ok", "signature holds"
	mark := `<path d="M%d %dl3 3l5 -6" class="mark"/>`
	switch l.Signer {
	case judge.Failed:
		class, label = "failed", "bad signature"
		mark = `<path d="M%d %dm0 -4l8 8m0 -8l-8 8" class="mark"/>`
	case judge.Unjudged:
		class, label = "unjudged", "signature not judged"
		mark = `<path d="M%d %dh8" class="mark"/>`
	}
	d.f(`<g><title>%s</title><circle cx="%d" cy="%d" r="9" class="seal %s"/>`, text(label+", key "+l.Key+" "+l.Why, 300), x, y, class)
	d.f(mark+"</g>", x-4, y)
	d.say("%s", label)
}

// transaction is an arrow from the lane of who acts to that of who is then in control.
func (d *drawing) transaction(l *judge.Leg, tx *judge.LegTransaction, y int) {
	from, to := d.x(l.Platform), d.x(tx.ToPlatform)
	class := "move"
	switch {
	case tx.Broken && d.report.Verdict != judge.Invalid:
		class += " unsure"
	case tx.Broken || l.Signer == judge.Failed:
		class += " broken"
	}
	line := class
	if l.Kind == "branch" {
		line += " branch"
	}
	local, _, _ := strings.Cut(tx.To, "@")
	who := tx.ToName
	if who == "" {
		who = local
	}
	if d.shared(tx.ToPlatform) {
		who += ", " + tx.ToPlatform
	}
	does := verb(tx.Instruction) + " → "
	room := float64(d.width-gutter-16) - span(does, 11)
	label := does + fit(who, 11, max(room, 40))
	half := int(span(label, 11) / 2)
	middle := min(max((from+to)/2, gutter+8+half), d.width-half-6)
	if from == to {
		d.f(`<circle cx="%d" cy="%d" r="4.5" class="%s"/>`, from, y, class)
	} else {
		step := 8
		if to < from {
			step = -8
		}
		d.f(`<circle cx="%d" cy="%d" r="3" class="%s"/><path d="M%d %dH%d" class="%s"/><path d="M%d %dl%d -5v10z" class="%s tip"/>`, from, y, class, from, y, to-step, line, to, y, -step, class)
	}
	d.f(`<text x="%d" y="%d" class="tx">%s<title>%s</title></text>`, middle, y+15, html.EscapeString(label), text(tx.To, 300))
	here := ""
	if tx.Broken {
		here = "here: "
	}
	d.say("%s%s to %s", here, verb(tx.Instruction), fit(tx.To, 1, 36))
}

// answer is the receipt or rejection of the addressee, back to who sent.
func (d *drawing) answer(l *judge.Leg, y int, label string, result judge.Result, class string) {
	last := l.Transactions[len(l.Transactions)-1]
	from, to := d.x(last.ToPlatform), d.x(l.Platform)
	if from == to {
		to = from + 30
	}
	switch result {
	case judge.OK:
		label += map[string]string{"answer": " ✓", "refusal": " ✗"}[class]
	case judge.Failed:
		label, class = "bad: "+label, class+" broken"
	default:
		label, class = label+", not judged", class+" unjudged"
	}
	step := 6
	if to < from {
		step = -6
	}
	half := int(span(label, 10) / 2)
	middle := min(max((from+to)/2, gutter+8+half), d.width-half-6)
	d.f(`<path d="M%d %dH%d" class="%s"/><path d="M%d %dl%d -4v8z" class="%s tip"/><text x="%d" y="%d" class="rx %s">%s</text>`,
		from, y, to-step, class, to, y, -step, class, middle, y+12, class, html.EscapeString(judge.Plain(label)))
	d.say("%s", label)
}

// honour is what the carrier's verdict says.
func (d *drawing) honour(l *judge.Leg, y int) {
	label := map[string]string{"surrendered": "honoured: cargo released", "amended": "honoured: another bill replaces it", "paper": "honoured: now on paper"}[l.Honour]
	half := int(span(label, 11) / 2)
	d.f(`<text x="%d" y="%d" class="tx">%s</text>`, min(max(d.x(l.Platform), gutter+8+half), d.width-half-6), y, html.EscapeString(label))
	d.say("%s", label)
}

// box is a sign on one lane, for who is in control.
func (d *drawing) box(x int, class, what, who, title string) {
	width := min(d.pitch-8, 150)
	d.f(`<g><title>%s</title><rect x="%d" y="8" width="%d" height="38" rx="6" class="%s"/><text x="%d" y="23" class="hn">%s</text><text x="%d" y="39" class="hn who">%s</text></g>`,
		text(title, 300), x-width/2, width, class, x, html.EscapeString(what), x, html.EscapeString(fit(who, 11.5, float64(width-8))))
	d.say("%s: %s", what, title)
}

// inControl marks who is, at the end of the way.
func (d *drawing) inControl(s *judge.State) {
	if s.Possessor == "" {
		d.box(d.x(s.Issuing), "void", "void", s.Honour, "the carrier honoured the return: "+s.Honour)
		return
	}
	local, platform, _ := strings.Cut(s.Possessor, "@")
	d.box(d.x(platform), "holds", "in control", local, s.Possessor)
}

// elsewhere is a broken rule that no envelope of the picture is the place of: an answer to
// something that is not in the file, say.
func (d *drawing) elsewhere(int) {
	r := d.report
	tone, mark := " bad", "✗ "
	if r.Verdict != judge.Invalid {
		tone, mark = " unsure", "? "
	}
	width := float64(d.width - gutter - 16)
	d.f(`<rect x="%d" y="4" width="%d" height="48" rx="6" class="row%s"/><text x="%d" y="23" class="warn%s">%s</text><text x="%d" y="41" class="when">%s</text>`,
		gutter-3, d.width-gutter+1, tone, gutter+5, tone, html.EscapeString(fit(mark+r.Rule, 11, width)), gutter+5, html.EscapeString(fit(r.Detail, 10.5, width)))
	d.say("The verdict is about this: %s %s", r.Rule, r.Detail)
}

// verb is an instruction in the words of a person.
func verb(instruction string) string {
	switch instruction {
	case "ISSU":
		return "issued"
	case "TRNS":
		return "transferred"
	case "SURR":
		return "surrendered"
	case "AMND":
		return "returned for change"
	case "SW2P":
		return "returned for paper"
	}
	return "?"
}
