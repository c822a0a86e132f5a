package report

import (
	"fmt"
	"html"
	"html/template"
	"strings"
	"unicode/utf8"

	"eblnode/judge"
)

// Measures of the picture, in its own units; a phone shows three lanes in full size.
const (
	gutter  = 34
	lane    = 102
	headRow = 46
	maxLegs = 300 // more are left out, and the picture says so
)

// A drawing is the SVG under way. Everything from the file goes through text.
type drawing struct {
	strings.Builder
	y     int
	width int
	lanes map[string]int // left to right
}

func (d *drawing) f(format string, args ...any) { fmt.Fprintf(&d.Builder, format, args...) }

// text is a text that cannot be anything else in SVG or HTML, shortened to n characters.
func text(s string, n int) string {
	s = judge.Plain(s)
	if utf8.RuneCountInString(s) > n {
		r := []rune(s)
		keep := (n - 1) / 2
		s = string(r[:n-1-keep]) + "…" + string(r[len(r)-keep:])
	}
	return html.EscapeString(s)
}

func (d *drawing) x(platform string) int { return gutter + lane*d.lanes[platform] + lane/2 }

// drawJourney is the bill's way as a picture: platforms as lanes, time downwards, each
// envelope with its transactions, signature and receipt, and the hash chain at the left,
// where a broken link is red.
func drawJourney(r *judge.Report) template.HTML {
	if len(r.Journey) == 0 {
		return ""
	}
	d := &drawing{lanes: map[string]int{}}
	for i, p := range r.Platforms() {
		d.lanes[p] = i
	}
	legs := r.Journey[:min(len(r.Journey), maxLegs)]
	d.y = headRow
	var body drawing
	width := gutter + lane*len(d.lanes) + 6
	body.lanes, body.y, body.width = d.lanes, headRow, width
	for i := range legs {
		body.leg(&legs[i], i, width)
	}
	if s := r.State; s != nil && len(legs) == len(r.Journey) {
		body.inControl(s)
	}
	height := body.y + 14
	if left := len(r.Journey) - len(legs); left > 0 {
		body.f(`<text x="%d" y="%d" class="dim">and %d more</text>`, gutter, body.y+14, left)
		height += 20
	}
	class := "journey"
	if len(d.lanes) <= 4 {
		class = "journey few" // there is room to draw it larger on a desk
	}
	d.f(`<svg class="%s" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="The journey of the bill">`, class, width, height, width, height)
	for _, p := range r.Platforms() {
		x := d.x(p)
		d.f(`<line x1="%d" y1="%d" x2="%d" y2="%d" class="lane"/>`, x, headRow-8, x, height)
		d.f(`<rect x="%d" y="8" width="%d" height="26" rx="6" class="head"/><text x="%d" y="25" class="platform">%s<title>%s</title></text>`, x-lane/2+4, lane-8, x, text(p, 15), text(p, 300))
	}
	d.WriteString(body.String())
	d.f(`</svg>`)
	return template.HTML(d.String()) //nolint: every text in it was escaped by text()
}

// leg draws one envelope or step.
func (d *drawing) leg(l *judge.Leg, number, width int) {
	if l.Link == judge.Failed && number > 0 {
		d.y += 22 // room to see it
	}
	top := d.y
	height := 52 + 34*len(l.Transactions)
	if l.Receipt != "" {
		height += 24
	}
	class := "row"
	switch {
	case l.Broken || l.Signer == judge.Failed || l.Hash == judge.Failed || l.Link == judge.Failed:
		class = "row bad"
	case number%2 == 1:
		class = "row odd"
	}
	d.f(`<rect x="%d" y="%d" width="%d" height="%d" rx="6" class="%s"/>`, gutter-6, top, width-gutter+2, height-4, class)
	d.hashLink(l, number, top, height)
	x := d.x(l.Platform)
	title := map[string]string{"entry": "Envelope", "step": "Step", "branch": "Other branch"}[l.Kind]
	d.f(`<text x="%d" y="%d" class="when">%s %d · %s</text>`, gutter+2, top+15, title, l.Index, l.SignedAt.UTC().Format("2 Jan 2006 15:04"))
	d.seal(l, x, top+31)
	y := top + 56
	for i := range l.Transactions {
		d.transaction(l, i, y)
		y += 34
	}
	if l.Receipt != "" {
		d.receipt(l, y-6)
	}
	d.y += height
}

// hashLink draws the link to what is before: whole, or broken and red.
func (d *drawing) hashLink(l *judge.Leg, number, top, height int) {
	const x = 14
	if number > 0 && l.Kind != "branch" {
		class := "link"
		if l.Link == judge.Failed {
			class = "link broken"
		}
		if class == "link" {
			d.f(`<line x1="%d" y1="%d" x2="%d" y2="%d" class="%s"/>`, x, top-14, x, top+6, class)
		} else {
			d.f(`<line x1="%d" y1="%d" x2="%d" y2="%d" class="%s"/><path d="M%d %dl12 12m0 -12l-12 12" class="cross"/><text x="%d" y="%d" class="warn">hash link broken</text>`,
				x, top-36, x, top+6, class, x-6, top-20, gutter+2, top-9)
		}
	}
	class := "block"
	if l.Hash == judge.Failed {
		class = "block broken"
	}
	if l.Kind == "step" {
		class += " step"
	}
	d.f(`<rect x="%d" y="%d" width="24" height="%d" rx="5" class="%s"/><text x="%d" y="%d" class="n">%d<title>%s</title></text>`, x-12, top+6, height-20, class, x, top+6+(height-20)/2+4, l.Index, text(l.Envelope, 64))
}

// seal is the signature of a leg, on the lane of who signed.
func (d *drawing) seal(l *judge.Leg, x, y int) {
	class, mark := "seal ok", `<path d="M%d %dl3 3l5 -6" class="mark"/>`
	label := "signed"
	switch l.Signer {
	case judge.Failed:
		class, mark, label = "seal failed", `<path d="M%d %dm0 -3l7 7m0 -7l-7 7" class="mark"/>`, "bad signature"
	case judge.Unjudged:
		class, mark, label = "seal unjudged", `<path d="M%d %dh7" class="mark"/>`, "not judged"
	}
	d.f(`<circle cx="%d" cy="%d" r="9" class="%s"><title>%s</title></circle>`, x, y, class, text(label+" "+l.Why+", key "+l.Key, 300))
	d.f(mark, x-4, y)
}

// transaction is an arrow from the lane of who acts to that of who is then in control.
func (d *drawing) transaction(l *judge.Leg, i, y int) {
	tx := &l.Transactions[i]
	from, to := d.x(l.Platform), d.x(tx.ToPlatform)
	class := "move"
	if tx.Broken || l.Signer == judge.Failed {
		class = "move broken"
	}
	if l.Kind == "branch" {
		class += " branch"
	}
	local, _, _ := strings.Cut(tx.To, "@")
	who := tx.ToName
	if who == "" {
		who = local
	}
	if from == to {
		d.f(`<circle cx="%d" cy="%d" r="4" class="%s"/>`, from, y, class)
		d.label(from, y+15, tx.Instruction, who, tx.To)
		return
	}
	step := 7
	if to < from {
		step = -7
	}
	d.f(`<circle cx="%d" cy="%d" r="3" class="%s"/><line x1="%d" y1="%d" x2="%d" y2="%d" class="%s"/><path d="M%d %dl%d -5v10z" class="%s tip"/>`,
		from, y, class, from, y, to-step, y, class, to, y, -step, class)
	d.label((from+to)/2, y+15, tx.Instruction, who, tx.To)
}

// label writes what a transaction does, inside the picture.
func (d *drawing) label(x, y int, instruction, who, to string) {
	who = judge.Plain(who)
	if r := []rune(who); len(r) > 16 {
		who = string(r[:15]) + "…"
	}
	half := (utf8.RuneCountInString(verb(instruction)) + 3 + utf8.RuneCountInString(who)) * 3 // of a letter's width
	x = min(max(x, gutter+half), d.width-half-2)
	d.f(`<text x="%d" y="%d" class="tx">%s → %s<title>%s</title></text>`, x, y, verb(instruction), text(who, 20), text(to, 300))
}

// receipt is the answer of the addressee, back to who sent.
func (d *drawing) receipt(l *judge.Leg, y int) {
	last := l.Transactions[len(l.Transactions)-1]
	from, to := d.x(last.ToPlatform), d.x(l.Platform)
	if from == to {
		to = from + 30
	}
	class, label := "answer", "receipt ✓"
	if l.Receipt != judge.OK {
		class, label = "answer unjudged", "receipt"
	}
	step := 6
	if to < from {
		step = -6
	}
	d.f(`<line x1="%d" y1="%d" x2="%d" y2="%d" class="%s"/><path d="M%d %dl%d -4v8z" class="%s tip"/><text x="%d" y="%d" class="rx %s">%s</text>`,
		from, y, to-step, y, class, to, y, -step, class, (from+to)/2, y+11, class, label)
}

// inControl marks who is, at the end of the way.
func (d *drawing) inControl(s *judge.State) {
	class, what := "holds", "in control"
	local, platform, _ := strings.Cut(s.Possessor, "@")
	if s.Possessor == "" {
		class, what, local, platform = "void", "void", s.Honour, s.Issuing
	}
	if _, there := d.lanes[platform]; !there {
		return
	}
	x := d.x(platform)
	d.f(`<rect x="%d" y="%d" width="%d" height="36" rx="6" class="%s"/><text x="%d" y="%d" class="hn">%s</text><text x="%d" y="%d" class="hn who">%s<title>%s</title></text>`,
		x-lane/2+4, d.y+8, lane-8, class, x, d.y+22, what, x, d.y+37, text(local, 15), text(s.Possessor, 300))
	d.y += 44
}

func verb(instruction string) string {
	switch instruction {
	case "ISSU":
		return "issued"
	case "TRNS":
		return "given"
	case "SURR":
		return "surrendered"
	case "AMND":
		return "for change"
	case "SW2P":
		return "to paper"
	}
	return "?"
}
