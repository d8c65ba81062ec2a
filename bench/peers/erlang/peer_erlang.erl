%% SPDX-License-Identifier: ISC
%%
%% The benchmarks in Erlang: processes in the place of tasks, and their mailboxes in the place of
%% channels. A mailbox has no bound and one reader; where a benchmark needs several readers of one
%% channel, the messages go to each in turn. There is no driver outside: every process is inside. Part
%% load and idle are left out: no thread outside the machine can send to a process, and a process that
%% looks at what the machine uses wakes half of it.

-module(peer_erlang).
-export([main/0]).

-define(TASKS, 300).
-define(STEPS, 300).
-define(LIGHT_TASKS, 25000).
-define(PINGS, 1000).
-define(RECEIVERS, 1000).
-define(CONTENDERS, 1000).
-define(US, 1000).
-define(MS, 1000000).
-define(S, 1000000000).

main() ->
    [Name | _] = init:get_plain_arguments(),
    try
        benchmark(Name),
        halt(0)
    catch
        Class:Reason:Stack ->
            io:format(standard_error, "wrong: ~p ~p ~p~n", [Class, Reason, Stack]),
            halt(1)
    end.

benchmark("spawn_one") -> measure(fun() -> spawn_and_join(1) end);
benchmark("spawn_many") -> measure(fun() -> spawn_and_join(?LIGHT_TASKS) end);
benchmark("yield_now") -> measure(fun yield_all/0);
benchmark("ping_pong") -> ping_pong();
benchmark("fanout") -> fanout();
benchmark("context_switch_quiet") -> revolutions(?TASKS, 1);
benchmark("context_switch_busy") ->
    Contenders = contend(?TASKS, 0),
    Iterations = revolutions(?TASKS div 10, 10),
    figure("turns", stop_contending(Contenders) / Iterations, "count");
benchmark("jitter") -> jitter().

%% A process says itself that it ends, which is less work than a monitor.
spawn_and_join(Count) ->
    Self = self(),
    [spawn(fun() -> Self ! ended end) || _ <- lists:seq(1, Count)],
    collect(ended, Count).

collect(_, 0) -> ok;
collect(Message, Count) ->
    receive
        Message -> collect(Message, Count - 1)
    end.

yield_all() ->
    Self = self(),
    [spawn(fun() -> Self ! {steps, yield(?STEPS, 0)} end) || _ <- lists:seq(1, ?TASKS)],
    collect({steps, ?STEPS}, ?TASKS).

yield(0, Done) -> Done;
yield(Left, Done) ->
    erlang:yield(),
    yield(Left - 1, Done + 1).

ping_pong() ->
    Ponger = spawn(fun() -> pong(1) end),
    Pings = counters:new(1, []),
    measure(fun() -> ping(Ponger, Pings, ?PINGS) end).

pong(N) ->
    receive
        {Reply, From} ->
            From ! {Reply, N},
            pong(N + 1)
    end.

ping(_, _, 0) -> ok;
ping(Ponger, Pings, Left) ->
    counters:add(Pings, 1, 1),
    Expected = counters:get(Pings, 1),
    Reply = make_ref(),
    Ponger ! {Reply, self()},
    receive
        {Reply, Expected} -> ping(Ponger, Pings, Left - 1)
    end.

fanout() ->
    Self = self(),
    Received = atomics:new(1, []),
    Receivers = [
        spawn(fun() -> receive_all(Self, Received) end)
     || _ <- lists:seq(1, ?RECEIVERS)
    ],
    measure(fun() ->
        [Receiver ! message || Receiver <- Receivers],
        receive
            {all, N} when N rem ?RECEIVERS =:= 0 -> ok
        end
    end).

receive_all(Driver, Received) ->
    receive
        message ->
            case atomics:add_get(Received, 1, 1) of
                N when N rem ?RECEIVERS =:= 0 -> Driver ! {all, N};
                _ -> ok
            end,
            receive_all(Driver, Received)
    end.

revolutions(Size, Each) ->
    Self = self(),
    First = lists:foldl(
        fun(_, Next) -> spawn(fun() -> pass_on(Next) end) end, Self, lists:seq(1, Size)
    ),
    measure(fun() -> revolve(First, Size, Each) end).

revolve(_, _, 0) -> ok;
revolve(First, Size, Left) ->
    First ! {token, 0},
    receive
        {token, Size} -> revolve(First, Size, Left - 1)
    end.

pass_on(Next) ->
    receive
        {token, N} ->
            Next ! {token, N + 1},
            pass_on(Next)
    end.

%% Processes that do some work and yield until told to stop.
contend(Count, Work) ->
    Stop = atomics:new(1, []),
    Self = self(),
    [spawn(fun() -> Self ! {turns, turns(Stop, Work, 0)} end) || _ <- lists:seq(1, Count)],
    {Stop, Count}.

turns(Stop, Work, Turns) ->
    case atomics:get(Stop, 1) of
        0 ->
            spin_work(Work),
            erlang:yield(),
            turns(Stop, Work, Turns + 1);
        1 ->
            Turns
    end.

stop_contending({Stop, Count}) ->
    atomics:put(Stop, 1, 1),
    lists:sum([
        receive
            {turns, Turns} when Turns > 0 -> Turns
        end
     || _ <- lists:seq(1, Count)
    ]).

jitter() ->
    Contenders = contend(?CONTENDERS, calibrate_work(?US)),
    Late = sleeps(now_ns() + 3 * ?S, []),
    stop_contending(Contenders),
    figure("mean", lists:sum(Late) / length(Late), "us"),
    figure("p99", percentile(Late, 99), "us"),
    figure("sleeps", length(Late), "count").

sleeps(End, Late) ->
    Start = now_ns(),
    receive after 1 -> ok end,
    Now = now_ns(),
    true = Now >= Start + ?MS,
    All = [(Now - Start - ?MS) / ?US | Late],
    case Now < End of
        true -> sleeps(End, All);
        false -> All
    end.

%% ---- measuring, as bench/measure.h and bench/tasks/series.h do it ----

measure(Iteration) ->
    Begin = now_ns(),
    measure(Iteration, 1, Begin, 0, []).

measure(Iteration, Batch, Begin, Iterations, Samples) ->
    Start = now_ns(),
    repeat(Iteration, Batch),
    End = now_ns(),
    Done = Iterations + Batch,
    Took = End - Start,
    if
        End < Begin + 300 * ?MS, Took < 100 * ?US ->
            measure(Iteration, Batch * 2, Begin, Done, Samples);
        End < Begin + 300 * ?MS ->
            measure(Iteration, Batch, Begin, Done, Samples);
        true ->
            All = [Took / Batch / ?US | Samples],
            if
                End > Begin + 1300 * ?MS, length(All) >= 20 ->
                    figure("time", percentile(All, 50), "us"),
                    figure("p99", percentile(All, 99), "us"),
                    Done;
                true ->
                    measure(Iteration, Batch, Begin, Done, All)
            end
    end.

repeat(_, 0) -> ok;
repeat(Iteration, Left) ->
    Iteration(),
    repeat(Iteration, Left - 1).

figure(Name, Value, Unit) ->
    io:format("~s ~.6f ~s~n", [Name, float(Value), Unit]).

percentile(Values, P) ->
    Sorted = lists:sort(Values),
    lists:nth(trunc((length(Sorted) - 1) * P / 100 + 0.5) + 1, Sorted).

now_ns() -> erlang:monotonic_time(nanosecond).

%% Small numbers: a product beyond 59 bits would be made on the heap.
spin_work(Rounds) -> spin_work(Rounds, 1).

spin_work(0, X) -> X;
spin_work(Rounds, X) -> spin_work(Rounds - 1, (X * 69069 + 1) band 16#ffffffff).

calibrate_work(Ns) ->
    Rounds = 1000000,
    Best = lists:min([
        begin
            Start = now_ns(),
            spin_work(Rounds),
            now_ns() - Start
        end
     || _ <- lists:seq(1, 9)
    ]),
    Rounds * Ns div Best.
