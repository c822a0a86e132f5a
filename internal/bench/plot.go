package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"eblnode/identity"
)

// A curve is one line of a plot.
type curve struct {
	name, colour string
	x, y         []float64
}

// svg draws curves with both axes logarithmic: costs grow by factors.
func svg(title, xName, yName string, curves []curve) string {
	const width, height, left, bottom, top, right = 640.0, 400.0, 70.0, 50.0, 40.0, 170.0
	x0, x1, y0, y1 := math.Inf(1), 0.0, math.Inf(1), 0.0
	for _, c := range curves {
		for i := range c.x {
			x0, x1, y0, y1 = min(x0, c.x[i]), max(x1, c.x[i]), min(y0, c.y[i]), max(y1, c.y[i])
		}
	}
	y0, y1 = y0/1.5, y1*1.5
	at := func(x, y float64) (float64, float64) {
		return left + (width-left-right)*math.Log(x/x0)/math.Log(max(x1/x0, 1.01)), height - bottom - (height-bottom-top)*math.Log(y/y0)/math.Log(y1/y0)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="%.0f" y="22" font-size="15">%s</text>`+"\n", left, title)
	fmt.Fprintf(&b, `<text x="%.0f" y="%.0f" text-anchor="middle">%s</text><text transform="translate(16 %.0f) rotate(-90)" text-anchor="middle">%s</text>`+"\n",
		(left+width-right)/2, height-12, xName, (height-bottom+top)/2, yName)
	for _, step := range []float64{1, 2, 5} {
		for e := -3; e < 8; e++ {
			v := step * math.Pow10(e)
			if v >= y0 && v <= y1 {
				_, y := at(x0, v)
				fmt.Fprintf(&b, `<line x1="%.0f" x2="%.0f" y1="%.1f" y2="%.1f" stroke="#ddd"/><text x="%.0f" y="%.1f" text-anchor="end">%g</text>`+"\n", left, width-right, y, y, left-6, y+4, v)
			}
		}
	}
	ticks := map[float64]bool{}
	for i, c := range curves {
		var points []string
		for k := range c.x {
			x, y := at(c.x[k], c.y[k])
			points = append(points, fmt.Sprintf("%.1f,%.1f", x, y))
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x, y, c.colour)
			if !ticks[c.x[k]] {
				ticks[c.x[k]] = true
				fmt.Fprintf(&b, `<text x="%.1f" y="%.0f" text-anchor="middle">%g</text>`+"\n", x, height-bottom+16, c.x[k])
			}
		}
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(points, " "), c.colour)
		fmt.Fprintf(&b, `<rect x="%.0f" y="%d" width="12" height="12" fill="%s"/><text x="%.0f" y="%d">%s</text>`+"\n", width-right+14, 50+20*i, c.colour, width-right+32, 60+20*i, c.name)
	}
	return b.String() + "</svg>\n"
}

// plot writes the pictures of docs/PERFORMANCE.md.
func (r *report) plot(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	floor, first, known := curve{name: "floor", colour: "#888888"}, curve{name: "first sight", colour: "#b03030"}, curve{name: "known prefix", colour: "#3060b0"}
	rsa := curve{name: "first sight, RS256", colour: "#d09030"}
	for _, v := range r.Results {
		x := float64(v.Entries)
		switch {
		case v.Clients != 32 || v.HTTP2:
		case v.Known && v.Alg == string(identity.ES256):
			known.x, known.y = append(known.x, x), append(known.y, v.Node)
		case v.Alg == string(identity.ES256):
			first.x, first.y = append(first.x, x), append(first.y, v.Node)
			floor.x, floor.y = append(floor.x, x), append(floor.y, v.Floor)
		case !v.Known:
			rsa.x, rsa.y = append(rsa.x, x), append(rsa.y, v.Node)
		}
	}
	write := func(name, text string) error { return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644) }
	if len(first.x) > 1 {
		if err := write("chain-length.svg", svg("Server CPU a transfer by chain length", "entries of the chain", "µs of CPU", []curve{floor, first, rsa, known})); err != nil {
			return err
		}
	}
	if len(r.Clients) > 1 {
		rate, cpu := curve{name: "transfers a second", colour: "#30803a"}, curve{name: "µs of CPU", colour: "#b03030"}
		for _, v := range r.Clients {
			rate.x, rate.y = append(rate.x, float64(v.Clients)), append(rate.y, v.Rate)
			cpu.x, cpu.y = append(cpu.x, float64(v.Clients)), append(cpu.y, v.Node)
		}
		if err := write("clients.svg", svg("One entry, by clients at once", "clients", "a second; µs", []curve{rate, cpu})); err != nil {
			return err
		}
	}
	if r.Sizes != nil {
		c := curve{name: "first sight, n=1", colour: "#b03030", x: []float64{1, float64(r.Sizes.Bills)}, y: []float64{r.Sizes.Empty, r.Sizes.Full}}
		return write("stored-bills.svg", svg("Server CPU a transfer by stored bills", "bills in the database (1: none)", "µs of CPU", []curve{c}))
	}
	return nil
}
