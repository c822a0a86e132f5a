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
	gutter = 44  // the hash chain, and the rail of other continuations
	lane   = 102 // of the least width
	block  = 16  // the middle of the chain's blocks
	side   = 35  // the rail
)

// A drawing is one row of the picture under way: an SVG of its own, so that paper breaks
// between rows and not through them. Everything from the file goes through text.
type drawing struct {
	strings.Builder
	*canvas
	said []string // the row in words, for who does not see it
}

// A canvas is what all rows share.
type canvas struct {
	width, pitch int
	lanes        map[string]int // left to right
	names        []string
	more         int // platforms that share the last lane
	report       *judge.Report
}

func (d *drawing) f(format string, args ...any) { fmt.Fprintf(&d.Builder, format, args...) }

func (d *drawing) say(format string, args ...any) {
	d.said = append(d.said, judge.Plain(fmt.Sprintf(format, args...)))
}

// text is a text that cannot be anything else in SVG or HTML, shortened to n characters in
// the middle.
func text(s string, n int) string {
	s = judge.Plain(s)
	if utf8.RuneCountInString(s) > n {
		r := []rune(s)
		keep := (n - 1) / 2
		s = string(r[:n-1-keep]) + "…" + string(r[len(r)-keep:])
	}
	return html.EscapeString(s)
}

// span is about how wide s is drawn, in a letter of the given size.
func span(s string, size float64) float64 {
	w := 0.0
	for _, r := range s {
		switch {
		case r >= 0x1100:
			w += size * 1.05
		case strings.ContainsRune("MWmw@—", r):
			w += size * 0.88
		default:
			w += size * 0.6
		}
	}
	return w
}

// fit shortens s so that it is drawn within width; it does not escape.
func fit(s string, size, width float64) string {
	s = judge.Plain(s)
	if span(s, size) <= width {
		return s
	}
	r := []rune(s)
	r = r[:min(len(r), 400)]
	for len(r) > 1 && span(string(r), size)+size > width {
		r = r[:len(r)-1]
	}
	return strings.TrimRight(string(r), " ") + "…"
}

// x is the middle of a platform's lane; of the last one where it has none of its own.
func (c *canvas) x(platform string) int {
	i, own := c.lanes[platform]
	if !own {
		i = len(c.names)
	}
	return gutter + c.pitch*i + c.pitch/2
}

// shared reports whether a platform has no lane of its own.
func (c *canvas) shared(platform string) bool {
	_, own := c.lanes[platform]
	return !own
}

func (c *canvas) count() int {
	if c.more > 0 {
		return len(c.names) + 1
	}
	return len(c.names)
}

// newCanvas gives lanes to the platforms of what is drawn: of more than fit, to who issued, who is
// in control and whom the verdict is about first.
func newCanvas(r *judge.Report, rows []shown[row]) *canvas {
	c := &canvas{lanes: map[string]int{}, report: r}
	var order []string
	seen := map[string]bool{}
	add := func(name string) {
		if !seen[name] {
			seen[name] = true
			order = append(order, name)
		}
	}
	wanted := map[string]bool{}
	need := func(name string) { wanted[name] = len(wanted) < maxLanes-1 || wanted[name] }
	for i, s := range rows {
		l := s.Item.leg
		if i == 0 || l.Broken {
			need(l.Platform)
		}
		add(l.Platform)
		for k, tx := range l.Transactions {
			if l.Broken && (tx.Broken || k == len(l.Transactions)-1) {
				need(tx.ToPlatform)
			}
			add(tx.ToPlatform)
		}
	}
	if s := r.State; s != nil {
		_, platform, _ := strings.Cut(s.Possessor, "@")
		need(platform)
	}
	room := maxLanes
	if len(order) > maxLanes {
		room = maxLanes - 1
	}
	for _, name := range order { // the first to appear, where there is room
		if n := count(wanted); n < room {
			wanted[name] = true
		}
	}
	for _, name := range order {
		if wanted[name] && len(c.names) < room {
			c.lanes[name] = len(c.names)
			c.names = append(c.names, name)
		}
	}
	c.more = len(order) - len(c.names)
	c.pitch = max(lane, 3*lane/max(c.count(), 1))
	c.width = gutter + c.pitch*c.count() + 6
	return c
}

func count(m map[string]bool) (n int) {
	for _, in := range m {
		if in {
			n++
		}
	}
	return n
}

// drawJourney is the bill's way as a picture: platforms as lanes, time downwards, each
// envelope with its transactions, signature and answer, and the hash chain at the left,
// where a broken link is red. cut: something was left out.
func drawJourney(r *judge.Report) (picture template.HTML, cut bool) {
	if len(r.Journey) == 0 {
		return "", false
	}
	all := rowsOf(r.Journey)
	rows := ends(all, maxRows, func(x *row) bool { return x.leg.Broken })
	c := newCanvas(r, rows)
	var b strings.Builder
	fmt.Fprintf(&b, `<div class="journey lanes%d" role="list" aria-label="The journey of the bill, envelope by envelope">`, max(3, c.count()))
	c.row(&b, "jhead", 42, (*drawing).heads)
	for _, s := range rows {
		if s.Skipped > 0 {
			cut = true
			c.row(&b, "jrow", 34, func(d *drawing, height int) { d.gap(s.Skipped, height, &s.Item) })
		}
		x := s.Item
		cut = cut || len(x.leg.Transactions) > maxTransactions
		c.row(&b, "jrow", c.height(&x), func(d *drawing, height int) { d.leg(&x, height) })
	}
	switch s := r.State; {
	case s != nil:
		c.row(&b, "jrow", 54, func(d *drawing, _ int) { d.inControl(s) })
	case !r.Verdict.Holds() && !blamed(r.Journey):
		c.row(&b, "jrow", 58, (*drawing).elsewhere)
	}
	b.WriteString(`</div>`)
	return template.HTML(b.String()), cut || c.more > 0 //nolint: every text in it was escaped by text()
}

func blamed(legs []judge.Leg) bool {
	for i := range legs {
		if legs[i].Broken {
			return true
		}
	}
	return false
}

// row draws one row, with the lanes behind it.
func (c *canvas) row(b *strings.Builder, class string, height int, draw func(d *drawing, height int)) {
	d := &drawing{canvas: c}
	draw(d, height)
	words := strings.Join(d.said, ". ")
	fmt.Fprintf(b, `<div class="%s" role="listitem"><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`,
		class, c.width, height, c.width, height, text(words, 1500))
	top := 0
	if class == "jhead" {
		top = 34
	}
	for i := range c.count() {
		x := gutter + c.pitch*i + c.pitch/2
		fmt.Fprintf(b, `<path d="M%d %dV%d" class="lane"/>`, x, top, height)
	}
	b.WriteString(d.String())
	b.WriteString("</svg></div>\n")
}

// heads names the lanes.
func (d *drawing) heads(int) {
	width := min(d.pitch-8, 150)
	box := func(i int, name, title string) {
		x := gutter + d.pitch*i + d.pitch/2
		d.f(`<g><title>%s</title><rect x="%d" y="4" width="%d" height="30" rx="6" class="head"/>`, text(title, 300), x-width/2, width)
		lines := fold(name, float64(width-4))
		for k, line := range lines {
			d.f(`<text x="%d" y="%d" class="platform">%s</text>`, x, 23-6*(len(lines)-1)+12*k, html.EscapeString(line))
		}
		d.f(`</g>`)
	}
	for i, name := range d.names {
		box(i, name, name)
	}
	d.say("Platforms: %s", strings.Join(d.names, ", "))
	if d.more > 0 {
		box(len(d.names), fmt.Sprintf("… %d more", d.more), fmt.Sprintf("%d more platforms share this lane", d.more))
		d.say("and %d more, which share the last lane", d.more)
	}
}

// fold writes a domain on one line, or on two that part at a dot.
func fold(name string, width float64) []string {
	const size = 9.5
	name = judge.Plain(name)
	if span(name, size) <= width {
		return []string{name}
	}
	at := -1
	for i := range name {
		if name[i] == '.' && i > 0 && span(name[:i], size) <= width {
			at = i
		}
	}
	if at < 0 {
		return []string{fit(name, size, width)}
	}
	return []string{name[:at], fit(name[at:], size, width)}
}
