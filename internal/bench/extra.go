package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// memory is what the node holds under load, and what one body of the largest size takes.
type memory struct {
	Load   int64       `json:"peakUnderLoadBytes"`
	Body   int64       `json:"largeBodyBytes"`
	Cost   int64       `json:"largeBodyCostBytes"`
	Times  float64     `json:"largeBodyTimes"`
	Shapes []largeCost `json:"largeBodies"`
	AtOnce int64       `json:"peakOfSixteenLargeAtOnceBytes"`
}

// memory reads the peak so far, and sends blocks that fill the limit.
func (o *options) memory(ctx context.Context, s *stage) (*memory, error) {
	m := &memory{Load: memoryOf(s.pid(), "VmHWM")}
	var err error
	if m.Shapes, err = o.largeBodies(ctx, s); err != nil {
		return nil, err
	}
	dearest := slices.MaxFunc(m.Shapes, func(a, b largeCost) int { return cmp.Compare(a.Times, b.Times) })
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
