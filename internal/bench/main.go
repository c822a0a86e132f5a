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
	"strings"
	"syscall"
	"time"
)

type options struct {
	root    string
	dir     string
	only    string
	rounds  int
	json    bool
	profile string
	out     io.Writer
}

func main() {
	var o options
	flag.StringVar(&o.root, "root", ".", "the module's folder")
	flag.StringVar(&o.dir, "dir", "", "work in this folder, on the disk to be measured (default: a temporary one)")
	flag.StringVar(&o.only, "only", "", "only the scenarios whose name has this text")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds of each scenario")
	flag.BoolVar(&o.json, "json", false, "print JSON")
	flag.StringVar(&o.profile, "profile", "", "write pprof files of the node into this folder")
	flag.Parse()
	o.out = os.Stdout
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := o.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench: "+err.Error())
		os.Exit(1)
	}
}

func (o *options) progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

func (o *options) run(ctx context.Context) (err error) {
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "eblnode-bench-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	}
	o.progress("building, making keys")
	program, err := build(ctx, o.root, o.dir)
	if err != nil {
		return err
	}
	p, err := newParty(peerDomain)
	if err != nil {
		return err
	}
	s, err := newStage(ctx, program, o.dir, p)
	if err != nil {
		return err
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	defer s.stop()
	f, err := newFloor(p, o.dir)
	if err != nil {
		return err
	}
	defer f.close()
	for _, sc := range scenarios() {
		if !strings.Contains(sc.name(), o.only) {
			continue
		}
		res, err := o.measure(ctx, s, f, sc)
		if err != nil {
			return fmt.Errorf("%s: %w", sc.name(), err)
		}
		fmt.Fprintf(o.out, "%-28s floor %8.0f µs  node %8.0f µs  ratio %5.2f  %7.0f/s  p50 %s p99 %s  allocs %d bytes %d dials %d\n", sc.name(),
			micro(res.floor), micro(res.node), res.ratio, res.rate, res.p50, res.p99, res.mallocs, res.bytes, res.dials)
	}
	return nil
}

func micro(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
