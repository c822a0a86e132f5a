// Bench measures how far the node is from what the machine allows.
//
//	go run ./internal/bench
//
// It starts a real node as a process of its own, signs blocks beforehand, and drives them
// over kept connections. In the same rounds it measures the floor, the sum of the raw
// parts that no receiver can leave out; what counts is the ratio of the two, since times
// differ from machine to machine and from hour to hour.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

type options struct {
	root, dir, only string
	rounds          int
	json, ci        bool
	profile, plots  string
	doc             string
	bills           int
	fillOnly        bool
	out             io.Writer
	profiles        []*profile
}

// runID tells this run's bills and folders from those of any other. A number of a process
// comes again, and a bill's name with another signature is a second continuation.
var runID = strconv.FormatInt(time.Now().UnixNano(), 36)

func main() {
	if os.Getenv(usageEnv) != "" {
		os.Exit(tellUsage(os.Args[1:]))
	}
	var o options
	flag.StringVar(&o.root, "root", ".", "the module's folder")
	flag.StringVar(&o.dir, "dir", "", "work in this folder, on the disk to be measured, and keep it; a later run goes on with it (default: a temporary one)")
	flag.StringVar(&o.only, "only", "", "only the measurements whose name has this text")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds of each measurement; the median counts")
	flag.BoolVar(&o.json, "json", false, "print JSON")
	flag.BoolVar(&o.ci, "ci", false, "the short form: fail where a ratio is over twice its target")
	flag.StringVar(&o.profile, "profile", "", "write pprof files of the node into this folder, and tell what its CPU was spent on")
	flag.StringVar(&o.plots, "plots", "", "write plots (SVG) into this folder")
	flag.StringVar(&o.doc, "doc", "", "put the table into this file, between its marks; with -profile, that of the profiles too")
	flag.IntVar(&o.bills, "bills", 0, "compare the empty database with one of at least so many bills of 1 KiB; they are made first, and stay in -dir")
	flag.BoolVar(&o.fillOnly, "fill", false, "only make the bills of -bills in -dir, and let fsck look at them")
	flag.Parse()
	o.out = os.Stdout
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := o.run(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: "+err.Error())
		os.Exit(1)
	}
}

func (o *options) progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

// check refuses options that contradict each other.
func (o *options) check() error {
	part := ""
	switch {
	case o.only != "":
		part = "-only"
	case o.ci:
		part = "-ci"
	case o.fillOnly:
		part = "-fill"
	}
	switch {
	case o.rounds < 1:
		return errors.New("-rounds must be at least 1")
	case o.bills < 0:
		return errors.New("-bills must not be below 0")
	case o.fillOnly && (o.dir == "" || o.bills == 0):
		return errors.New("-fill needs -dir and -bills")
	case part != "" && (o.doc != "" || o.plots != ""):
		return fmt.Errorf("%s measures a part, and -doc and -plots write all anew: not both", part)
	case o.fillOnly && (o.only != "" || o.ci || o.json || o.profile != ""):
		return errors.New("-fill measures nothing: not with -only, -ci, -json or -profile")
	}
	return nil
}

func (o *options) run(ctx context.Context) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	kept := o.dir != ""
	if !kept {
		if o.dir, err = os.MkdirTemp("", "eblnode-bench-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	}
	if kept {
		if err := os.MkdirAll(o.dir, 0o700); err != nil {
			return err
		}
	}
	if o.profile != "" {
		if err := os.MkdirAll(o.profile, 0o755); err != nil {
			return err
		}
	}
	o.progress("building, making keys")
	program, err := build(ctx, o.root, o.dir)
	if err != nil {
		return err
	}
	p, err := loadParty(o.dir, peerDomain)
	if err != nil {
		return err
	}
	if have, err := (&stage{dir: o.dir + "/full/node"}).filled(); err != nil {
		return err
	} else if have < o.bills { // to start a node of a million bills takes a minute
		full, err := o.stage(ctx, program, "full", p)
		if err != nil {
			return err
		}
		if err := o.fill(ctx, full, o.bills, 1<<10); err != nil {
			full.stop()
			return err
		}
		full.stop()
	}
	if o.fillOnly {
		o.progress("fsck, a sample of 1000")
		return (&stage{dir: o.dir + "/full/node", program: program}).fsck(ctx, 1000)
	}
	return o.all(ctx, program, p)
}

// stage makes, or finds, a node in the folder of that name, and starts it.
func (o *options) stage(ctx context.Context, program, name string, p *party) (*stage, error) {
	dir := o.dir + "/" + name
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s, err := newStage(ctx, program, dir, p)
	if err != nil {
		return nil, err
	}
	return s, s.start(ctx)
}

func micro(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
