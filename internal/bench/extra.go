package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"eblnode/identity"
)

// memory is what the node holds under load, and what one body of the largest size takes.
type memory struct {
	Load   int64    `json:"peakUnderLoadBytes"`
	Body   int64    `json:"largeBodyBytes"`
	Cost   int64    `json:"largeBodyCostBytes"`
	Times  float64  `json:"largeBodyTimes"`
	Shapes []filled `json:"largeBodies"`
	AtOnce int64    `json:"peakOfSixteenLargeAtOnceBytes"`
}

// memory reads the peak so far, and sends blocks that fill the limit.
func (o *options) memory(ctx context.Context, s *stage) (*memory, error) {
	m := &memory{Load: memoryOf(s.pid(), "VmHWM")}
	var err error
	if m.Shapes, err = o.largeBodies(ctx, s); err != nil {
		return nil, err
	}
	dearest := slices.MaxFunc(m.Shapes, func(a, b filled) int { return cmp.Compare(a.Times, b.Times) })
	m.Body, m.Cost, m.Times = int64(dearest.Bytes), dearest.Cost, dearest.Times
	if m.AtOnce, err = o.largeAtOnce(ctx, s, dearest.Shape); err != nil {
		return nil, err
	}
	if o.profile != "" {
		text, err := s.ask(ctx, "/debug/pprof/allocs")
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(o.profile, "allocs.pprof"), text, 0o600); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// memoryOf reads a field of /proc/PID/status, in bytes: VmRSS, or VmHWM for the peak.
func memoryOf(pid int, field string) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return n << 10
		}
	}
	return 0
}

// verifying is what eblverify does in a second of CPU.
type verifying struct {
	Entries int     `json:"entries"`
	Rate    float64 `json:"perSecondAndCore"`
	Floor   float64 `json:"floorMicros"`
	Micros  float64 `json:"micros"`
	Peak    int64   `json:"peakBytes"`
}

// eblverify gives the real program many files, and takes off what it costs to start it.
func (o *options) eblverify(ctx context.Context, p *party, n int) (*verifying, error) {
	dir := filepath.Join(o.dir, fmt.Sprintf("verify-%d", n))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	trust, err := p.entry.JSON()
	if err != nil {
		return nil, err
	}
	trustFile := filepath.Join(dir, "trust.json")
	if err := os.WriteFile(trustFile, trust, 0o600); err != nil {
		return nil, err
	}
	count := map[int]int{1: 1000, 20: 200, 100: 60}[n]
	list, err := p.blocks(identity.ES256, "V", documentSize, n, count, "x@"+peerDomain)
	if err != nil {
		return nil, err
	}
	var files []string
	for i, b := range list {
		name := filepath.Join(dir, fmt.Sprintf("%d.json", i))
		if err := os.WriteFile(name, b.body, 0o600); err != nil {
			return nil, err
		}
		files = append(files, name)
	}
	run := func(files []string) (time.Duration, int64, error) {
		cmd := exec.CommandContext(ctx, filepath.Join(o.dir, "eblverify"), append([]string{"--json", "--trust", trustFile}, files...)...)
		if out, err := cmd.Output(); err != nil {
			return 0, 0, fmt.Errorf("eblverify: %w\n%.500s", err, out)
		}
		u := cmd.ProcessState.SysUsage().(*syscall.Rusage)
		return time.Duration(u.Utime.Nano() + u.Stime.Nano()), u.Maxrss << 10, nil
	}
	var costs []float64
	v := &verifying{Entries: n}
	for range o.rounds {
		one, _, err := run(files[:1])
		if err != nil {
			return nil, err
		}
		all, peak, err := run(files)
		if err != nil {
			return nil, err
		}
		v.Peak = max(v.Peak, peak)
		costs = append(costs, micro(all-one)/float64(count-1))
	}
	v.Micros = median(costs)
	v.Rate = 1e6 / v.Micros
	return v, nil
}

// fsck lets the program check the database of a stopped node.
func (s *stage) fsck(ctx context.Context, sample int) error {
	out, err := s.command(ctx, "fsck", "--sample", strconv.Itoa(sample), "--json")
	if err != nil {
		return fmt.Errorf("fsck: %w\n%.2000s", err, out)
	}
	if !json.Valid(out) {
		return fmt.Errorf("fsck said %.200s", out)
	}
	return nil
}
