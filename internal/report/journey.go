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
	gutter  = 40
	lane    = 116
	headRow = 46
	maxLegs = 300 // more are left out, and the picture says so
)

// A drawing is the SVG under way. Everything from the file goes through text.
type drawing struct {
	strings.Builder
	y     int
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
	body.lanes, body.y = d.lanes, headRow
	width := gutter + lane*len(d.lanes) + 8
	for i := range legs {
		body.leg(&legs[i], i, width)
	}
	height := body.y + 14
	if left := len(r.Journey) - len(legs); left > 0 {
		body.f(`<text x="%d" y="%d" class="dim">and %d more</text>`, gutter, body.y+14, left)
		height += 20
	}
	d.f(`<svg class="journey" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="The journey of the bill">`, width, height, width, height)
	for _, p := range r.Platforms() {
		x := d.x(p)
		d.f(`<line x1="%d" y1="%d" x2="%d" y2="%d" class="lane"/>`, x, headRow-8, x, height)
		d.f(`<rect x="%d" y="8" width="%d" height="26" rx="6" class="head"/><text x="%d" y="25" class="platform">%s<title>%s</title></text>`, x-lane/2+4, lane-8, x, text(p, 17), text(p, 300))
	}
	d.WriteString(body.String())
	d.f(`</svg>`)
	return template.HTML(d.String()) //nolint: every text in it was escaped by text()
}

// leg draws one envelope or step.
func (d *drawing) leg(l *judge.Leg, number, width int) {
	top := d.y
	height := 34 + 34*len(l.Transactions)
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
	d.seal(l, x, top+17)
	y := top + 40
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
	const x = 17
	if number > 0 && l.Kind != "branch" {
		class := "link"
		if l.Link == judge.Failed {
			class = "link broken"
		}
		if class == "link" {
			d.f(`<line x1="%d" y1="%d" x2="%d" y2="%d" class="%s"/>`, x, top-14, x, top+6, class)
		} else {
			d.f(`<line x1="%d" y1="%d" x2="%d" y2="%d" class="%s"/><path d="M%d %dl10 10m0 -10l-10 10" class="cross"/>`, x, top-14, x, top+6, class, x-5, top-9)
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
		d.f(`<text x="%d" y="%d" class="tx">%s → %s<title>%s</title></text>`, from, y+15, verb(tx.Instruction), text(who, 13), text(tx.To, 300))
		return
	}
	step := 7
	if to < from {
		step = -7
	}
	d.f(`<circle cx="%d" cy="%d" r="3" class="%s"/><line x1="%d" y1="%d" x2="%d" y2="%d" class="%s"/><path d="M%d %dl%d -5v10z" class="%s tip"/>`,
		from, y, class, from, y, to-step, y, class, to, y, -step, class)
	d.f(`<text x="%d" y="%d" class="tx">%s → %s<title>%s</title></text>`, (from+to)/2, y+15, verb(tx.Instruction), text(who, 15), text(tx.To, 300))
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
		class, label = "answer unjudged", "receipt, not judged"
	}
	step := 6
	if to < from {
		step = -6
	}
	d.f(`<line x1="%d" y1="%d" x2="%d" y2="%d" class="%s"/><path d="M%d %dl%d -4v8z" class="%s tip"/><text x="%d" y="%d" class="rx">%s</text>`,
		from, y, to-step, y, class, to, y, -step, class, (from+to)/2, y+11, label)
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
