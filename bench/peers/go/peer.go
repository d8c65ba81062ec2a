// SPDX-License-Identifier: ISC
//
// The benchmarks in Go: goroutines and channels in the place of tasks and channels. There is no
// driver outside: every goroutine is inside.
//
//	peer-go BENCHMARK [--rate TOKENS_PER_SECOND]
package main

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const (
	us = 1_000
	ms = 1_000_000
	s  = 1_000_000_000

	tasks      = 300
	steps      = 300
	lightTasks = 25_000
	pings      = 1_000
	receivers  = 1_000
	sends      = 1_000
	contenders = 1_000
	hops       = 30
)

func main() {
	benchmarks := map[string]func(){
		"spawn_one": spawnOne, "spawn_many": spawnMany, "yield_now": yieldNow, "ping_pong": pingPong,
		"fanout": fanout, "context_switch_quiet": contextSwitchQuiet,
		"context_switch_busy": contextSwitchBusy, "jitter": jitter, "idle": idle,
		"part_load": partLoad,
	}
	benchmark := benchmarks[os.Args[1]]
	check(benchmark != nil, "there is such a benchmark")
	benchmark()
}

func check(good bool, what string) {
	if !good {
		fmt.Fprintln(os.Stderr, "wrong: not so:", what)
		os.Exit(1)
	}
}

// ---- the benchmarks of the crate ----

func spawnOne() {
	ended := 0
	var group sync.WaitGroup
	iterations := measure(func() {
		group.Add(1)
		go func() {
			ended++
			group.Done()
		}()
		group.Wait()
	})
	check(ended == iterations, "each goroutine ran")
}

func spawnAndJoinMany() {
	var ended [lightTasks]bool
	var group sync.WaitGroup
	group.Add(lightTasks)
	for i := range ended {
		one := &ended[i]
		go func() {
			*one = true
			group.Done()
		}()
	}
	group.Wait()
	for _, one := range ended {
		check(one, "each goroutine ran")
	}
}

func spawnMany() {
	measure(spawnAndJoinMany)
}

func yieldNow() {
	measure(func() {
		var done [tasks]int
		var group sync.WaitGroup
		group.Add(tasks)
		for i := range done {
			mine := &done[i]
			go func() {
				n := 0
				for ; n < steps; n++ {
					runtime.Gosched()
				}
				*mine = n
				group.Done()
			}()
		}
		group.Wait()
		for _, n := range done {
			check(n == steps, "each goroutine yielded as often as it should")
		}
	})
}

func pingPong() {
	requests := make(chan chan int, 10)
	go func() {
		pongs := 0
		for reply := range requests {
			pongs++
			reply <- pongs
		}
	}()
	sent := 0
	measure(func() {
		for i := 0; i < pings; i++ {
			reply := make(chan int, 1)
			requests <- reply
			sent++
			check(<-reply == sent, "each ping is answered once")
		}
	})
}

func fanout() {
	channel := make(chan struct{}, 1)
	var received int64
	var group sync.WaitGroup
	group.Add(receivers)
	for i := 0; i < receivers; i++ {
		go func() {
			n := int64(0)
			for range channel {
				n++
			}
			atomic.AddInt64(&received, n)
			group.Done()
		}()
	}
	iterations := measure(func() {
		for i := 0; i < sends; i++ {
			channel <- struct{}{}
		}
	})
	close(channel)
	group.Wait()
	check(received == int64(iterations)*sends, "all was received")
}

// Goroutines in a row, each of which passes on what it receives, one more each time; and both ends.
func ring(size int) (chan<- int, <-chan int) {
	first := make(chan int, 1)
	last := first
	for i := 0; i < size; i++ {
		from, to := last, make(chan int, 1)
		go func() {
			for token := range from {
				to <- token + 1
			}
		}()
		last = to
	}
	return first, last
}

func revolutions(size, each int) int {
	first, last := ring(size)
	return measure(func() {
		for i := 0; i < each; i++ {
			first <- 0
			check(<-last == size, "the token went all the way")
		}
	})
}

func contextSwitchQuiet() {
	revolutions(tasks, 1)
}

// Starts goroutines that do some work and yield until the function returned is called; this returns
// how often they did.
func contend(count int, work int) (stop func() int64) {
	var stopping atomic.Bool
	var all int64
	var group sync.WaitGroup
	group.Add(count)
	for i := 0; i < count; i++ {
		go func() {
			turns := int64(0)
			for !stopping.Load() {
				spinWork(work)
				runtime.Gosched()
				turns++
			}
			check(turns > 0, "each goroutine had its turn")
			atomic.AddInt64(&all, turns)
			group.Done()
		}()
	}
	return func() int64 {
		stopping.Store(true)
		group.Wait()
		return all
	}
}

func contextSwitchBusy() {
	stop := contend(tasks, 0)
	iterations := revolutions(tasks/10, 10)
	figure("turns", float64(stop())/float64(iterations), "count")
}

// ---- and what comes with them ----

func jitter() {
	stop := contend(contenders, calibrateWork(us))
	var late []float64
	sum := 0.0
	for end := now() + 3*s; now() < end; {
		due := now() + ms
		time.Sleep(ms)
		woken := now()
		check(woken >= due, "a sleep does not end too early")
		late = append(late, float64(woken-due)/us)
		sum += float64(woken-due) / us
	}
	stop()
	figure("mean", sum/float64(len(late)), "us")
	figure("p99", percentile(late, 99), "us")
	figure("sleeps", float64(len(late)), "count")
}

func idle() {
	for i := 0; i < 20; i++ {
		spawnAndJoinMany()
		time.Sleep(ms)
	}
	runtime.LockOSThread()
	sleepUntil(now() + 2*s)
	used, switches := cpuOfOthers(), switchesOfOthers()
	sleepUntil(now() + 10*s)
	used = cpuOfOthers() - used
	figure("cpu", float64(used/us), "us") // whole us: what two clocks can tell
	figure("switches", float64(switchesOfOthers()-switches), "count")
}

type token struct {
	index, hops int
	sent        int64
}

// A thread of its own sends tokens into a ring of goroutines at a steady pace; see part_load of the
// other peers.
func partLoad() {
	const warmUp = 500
	rate := 2000
	if len(os.Args) > 3 && os.Args[2] == "--rate" {
		rate, _ = strconv.Atoi(os.Args[3])
	}
	check(rate > 0, "the rate is a number")
	count := warmUp + 3*rate
	work := calibrateWork(us)
	late := make([]int64, count)
	var done int64

	var channels [tasks]chan token
	for i := range channels {
		channels[i] = make(chan token, 1)
	}
	for i := range channels {
		from, to := channels[i], channels[(i+1)%tasks]
		go func() {
			for token := range from {
				spinWork(work)
				token.hops++
				if token.hops < hops {
					to <- token
				} else {
					late[token.index] = now() - token.sent
					atomic.AddInt64(&done, 1)
				}
			}
		}()
	}

	runtime.LockOSThread()
	sleepExactly()
	pace := func(from, to int, inject bool) (all, pacer float64) {
		begin, process, thread := now(), clock(clockProcess), clock(clockThread)
		for i := 0; i < to-from; i++ {
			sleepUntil(begin + int64(i+1)*s/int64(rate))
			if inject {
				channels[i*hops%tasks] <- token{from + i, 0, now()}
			}
		}
		wall := now() - begin
		ideal := int64(to-from) * s / int64(rate)
		check(wall < ideal+ideal/20+20*ms, "the tokens can be sent at this rate")
		for inject && atomic.LoadInt64(&done) < int64(to) {
			sleepUntil(now() + ms)
		}
		percent := 100 / float64(wall)
		return float64(clock(clockProcess)-process) * percent, float64(clock(clockThread)-thread) * percent
	}
	pacing, _ := pace(0, rate, false)
	pace(0, warmUp, true)
	pure := pureWork(work)
	all, pacer := pace(warmUp, count, true)
	pure = (pure + pureWork(work)) / 2
	workload := pure * float64(rate) * 100 / s

	var over []float64
	for _, ns := range late[warmUp:] {
		check(ns > 0, "each token came through")
		over = append(over, (float64(ns)-pure)/us)
	}
	figure("over", all-pacing-workload, "%")
	figure("p50", percentile(over, 50), "us")
	figure("p99", percentile(over, 99), "us")
	figure("cpu", all, "%")
	figure("pacer", pacer, "%")
	figure("work", workload, "%")
}

// ns of CPU time that the work of one token takes by itself, right now.
func pureWork(work int) float64 {
	const tokens = 2000
	start := clock(clockThread)
	for i := 0; i < tokens*hops; i++ {
		spinWork(work)
	}
	return float64(clock(clockThread)-start) / tokens
}

// ---- measuring, as bench/measure.h and bench/tasks/series.h do it ----

// Times iterations in batches so long that reading the clock does not count; returns how many it did.
func measure(iteration func()) (iterations int) {
	const batchTime, warmUp, measured, leastSamples = 100 * us, 300 * ms, s, 20
	var samples []float64
	begin := now()
	for batch := 1; ; {
		start := now()
		for i := 0; i < batch; i++ {
			iteration()
		}
		end := now()
		iterations += batch
		if end >= begin+warmUp {
			samples = append(samples, float64(end-start)/float64(batch)/us)
			if end > begin+warmUp+measured && len(samples) >= leastSamples {
				break
			}
		} else if end-start < batchTime {
			batch *= 2
		}
	}
	figure("time", percentile(samples, 50), "us")
	figure("p99", percentile(samples, 99), "us")
	return iterations
}

func figure(name string, value float64, unit string) {
	fmt.Printf("%s %f %s\n", name, value, unit)
}

func percentile(values []float64, p float64) float64 {
	check(len(values) > 0, "there are values")
	sort.Float64s(values)
	return values[int(float64(len(values)-1)*p/100+0.5)]
}

var sink uint64

func spinWork(rounds int) {
	x := uint64(rounds) | 1
	for i := 0; i < rounds; i++ {
		x *= 0x9e3779b97f4a7c15
	}
	if x == 0 { // never: an odd number stays odd
		sink = x
	}
}

func calibrateWork(ns int) int {
	const rounds = 1_000_000
	best := int64(s)
	for i := 0; i < 9; i++ {
		start := now()
		spinWork(rounds)
		if took := now() - start; took < best {
			best = took
		}
	}
	return rounds * ns / int(best)
}

var start = time.Now()

func now() int64 {
	return int64(time.Since(start))
}

const (
	clockMonotonic = 1
	clockProcess   = 2
	clockThread    = 3
	timerAbsolute  = 1
	usageThread    = 1
	timerSlack     = 29
)

func clock(id uintptr) int64 {
	var at syscall.Timespec
	_, _, err := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, id, uintptr(unsafe.Pointer(&at)), 0)
	check(err == 0, "there is such a clock")
	return at.Nano()
}

// The two clocks are not read at once, so some of this thread's own may be missing from the
// difference: the largest is the truest.
func cpuOfOthers() int64 {
	most := int64(0)
	for i := 0; i < 10; i++ {
		if others := clock(clockProcess) - clock(clockThread); others > most {
			most = others
		}
	}
	return most
}

func switchesOfOthers() int64 {
	var process, thread syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &process)
	syscall.Getrusage(usageThread, &thread)
	return process.Nvcsw + process.Nivcsw - thread.Nvcsw - thread.Nivcsw
}

func sleepExactly() {
	syscall.RawSyscall(syscall.SYS_PRCTL, timerSlack, 1, 0)
}

// Sleeps in the kernel, as a thread that is not Go's would.
func sleepUntil(at int64) {
	until := syscall.NsecToTimespec(clock(clockMonotonic) + at - now())
	for {
		_, _, err := syscall.Syscall6(syscall.SYS_CLOCK_NANOSLEEP, clockMonotonic, timerAbsolute,
			uintptr(unsafe.Pointer(&until)), 0, 0, 0)
		if err == 0 {
			return
		}
	}
}
