package webhook

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// tasks makes one for each lane given.
func tasks(lanes ...int64) []Task {
	var list []Task
	for i, lane := range lanes {
		list = append(list, Task{ID: fmt.Sprint(i), Lane: lane, Seq: int64(i)})
	}
	return list
}

// play runs a round whose receiver answers each task as it is told; 0: 200.
func play(ctx context.Context, list []Task, width int, status map[int64]int) (sent []int64, results []Result) {
	var mu sync.Mutex
	results = Round(ctx, list, width, func(_ context.Context, t Task) Answer {
		mu.Lock()
		defer mu.Unlock()
		sent = append(sent, t.Seq)
		if s, found := status[t.Seq]; found {
			return Answer{Status: s}
		}
		return Answer{Status: 200}
	})
	return sent, results
}

func TestRoundKeepsTheOrderOfEachLane(t *testing.T) {
	for range 50 {
		sent, results := play(t.Context(), tasks(7, 8, 7, 9, 8, 7), 4, nil)
		if len(sent) != 6 || len(results) != 6 {
			t.Fatalf("sent %v, want all six", sent)
		}
		for _, lane := range [][]int64{{0, 2, 5}, {1, 4}} {
			var places []int
			for _, seq := range lane {
				places = append(places, slices.Index(sent, seq))
			}
			if !slices.IsSorted(places) {
				t.Errorf("lane %v was sent in the order %v", lane, sent)
			}
		}
		for i, r := range results {
			if r.Task.Seq != int64(i) || !r.Tried || !r.Answer.Delivered() {
				t.Errorf("result %d: got %+v", i, r)
			}
		}
	}
}

func TestFailedTaskHoldsUpItsLaneAlone(t *testing.T) {
	sent, results := play(t.Context(), tasks(7, 8, 7, 8, 7), 1, map[int64]int{0: 500})
	if want := []int64{0, 1, 3}; !slices.Equal(sent, want) {
		t.Errorf("sent %v, want %v", sent, want)
	}
	for i, tried := range []bool{true, true, false, true, false} {
		if results[i].Tried != tried {
			t.Errorf("task %d: tried %t, want %t", i, results[i].Tried, tried)
		}
	}
}

func TestDeadReceiverEndsTheRound(t *testing.T) {
	for _, status := range []int{0, 503, 429, 410} {
		sent, _ := play(t.Context(), tasks(1, 2, 3, 4, 5, 6), 1, map[int64]int{1: status})
		if want := []int64{0, 1}; !slices.Equal(sent, want) {
			t.Errorf("%d: sent %v, want %v", status, sent, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if sent, results := play(ctx, tasks(1, 2), 2, nil); len(sent) != 0 || results[0].Tried {
		t.Errorf("a round that was called off: sent %v, %+v", sent, results)
	}
}

// What fails because we stop is no failure of the receiver.
func TestStoppingIsNotTheReceiversFault(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	results := Round(ctx, tasks(1, 2), 1, func(context.Context, Task) Answer {
		cancel()
		return Answer{}
	})
	if results[0].Tried || results[1].Tried {
		t.Errorf("got %+v, want none tried", results)
	}
}

func TestPauseGrowsAndIsCapped(t *testing.T) {
	const most = 5 * time.Minute
	for failed, want := range map[int]time.Duration{0: time.Second, 1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 9: 256 * time.Second, 10: most, 40: most, 1 << 30: most} {
		for range 100 {
			if got := Pause(failed, most); got < want/2 || got > want {
				t.Fatalf("after %d: got %s, want between %s and %s", failed, got, want/2, want)
			}
		}
	}
}
