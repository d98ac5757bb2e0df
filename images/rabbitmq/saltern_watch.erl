%% Watches over what this node is to its cluster, from inside: each question from outside starts a second Erlang.
%%
%% Every five seconds it writes what it sees, a line for the health check. It ends a node that Mnesia has parted from
%% others which it reaches: that is what is left when a node was frozen for longer than net_ticktime, and nothing else
%% heals it. It takes a new cookie from the file, since a node that restarts for it could not join those that have the old
%% one: nodes that know each other stay together, and who comes next is asked for the new one. It gives streams the copies that they lack, as RabbitMQ does for quorum queues alone.
-module(saltern_watch).
-export([start/1, best/1, lacking/3]).

-define(REPORT, "/tmp/cluster").
-define(PAUSE, 5000).
-define(PATIENCE, 5000).
% Rounds: RabbitMQ's own partition handling comes first; a node that has just started may still be joining.
-define(PARTED, 2).
-define(ALONE, 12).
-define(STREAMS, 12).
-define(COPIES, 3).

%% erl -run saltern_watch start FILE (addresses of all members, a line each)
start([File]) ->
    spawn(fun() -> loop(#{file => File, parted => 0, alone => 0, round => 0, thin => 0}) end).

loop(#{round := Round} = Seen) ->
    Next =
        try cookie(), look(Seen)
        catch Class:Reason ->
            report("unknown: ~0p", [{Class, Reason}]),
            Seen
        end,
    timer:sleep(?PAUSE),
    loop(Next#{round => Round + 1}).

look(Seen) ->
    case rabbit:is_running() andalso not rabbit_khepri:is_enabled() of
        true -> compare(Seen, rabbit_nodes:list_members());
        false -> raft(Seen, rabbit:is_running())
    end.

raft(Seen, true) ->
    % Khepri, the other metadata store, finds together by itself.
    Members = rabbit_nodes:list_members(),
    content(Seen, Members, rabbit_nodes:filter_running(Members));
raft(Seen, false) ->
    report("starting, or paused as it does not see most of the members", []),
    Seen#{parted := 0}.

cookie() ->
    {ok, Text} = file:read_file(filename:join(os:getenv("HOME"), ".erlang.cookie")),
    Wanted = binary_to_atom(string:trim(Text), latin1),
    Wanted =:= erlang:get_cookie() orelse erlang:set_cookie(Wanted).

compare(#{parted := Before} = Seen, Members) ->
    Own = running(node()),
    Reached = [One || One <- Members -- [node()], net_kernel:connect_node(One) =:= true, runs(One)],
    case [running(One) || One <- Reached -- Own] of
        [] ->
            content(Seen#{parted := 0}, Members, Own);
        Others ->
            report("parted: has ~s, but not ~s", [names(Own), names(lists:append(Others))]),
            Parted = Before + 1,
            Loses = best([Own | Others]) =/= Own,
            (Loses andalso Parted >= ?PARTED) andalso leave(Own, Others),
            Seen#{parted := Parted}
    end.

%% Of the parts of a cluster, each the sorted list of its nodes, the one that stays: the largest, then the first.
best(Parts) -> element(2, lists:min([{-length(Part), Part} || Part <- Parts])).

%% To end the container, so that its restart policy starts it as a member of the others' part.
leave(Own, Others) ->
    case application:get_env(rabbit, cluster_partition_handling) of
        {ok, pause_minority} ->
            logger:error("saltern_watch: ~s has parted from ~s: ending, to join them again",
                         [names(Own), names(lists:append(Others))]),
            spawn(fun() -> timer:sleep(30000), erlang:halt(1) end),
            init:stop(1),
            timer:sleep(infinity);
        _ ->
            ok
    end.

content(#{alone := Before} = Seen, Members, Running) ->
    case strangers(Seen, Members) of
        [_ | _] = Found when Before >= ?ALONE ->
            report("alone: ~s run, but not in its cluster (~s)", [names(Found), names(Members)]),
            Seen;
        Found ->
            #{thin := Thin} = Next = streams(Seen, Members, Running),
            report("ok ~b members, ~b run~s", [length(Members), length(Running), thin(Thin)]),
            Next#{alone := case Found of [] -> 0; _ -> Before + 1 end}
    end.

thin(0) -> "";
thin(Count) -> io_lib:format(", ~b streams have fewer than ~b copies", [Count, ?COPIES]).

%% Those that the configuration names, that are no members, and whose port for other nodes is open.
strangers(#{file := File}, Members) ->
    {ok, Text} = file:read_file(File),
    Port = list_to_integer(os:getenv("RABBITMQ_DIST_PORT")),
    Named = [{One, list_to_atom("rabbit@" ++ One)} || One <- string:lexemes(binary_to_list(Text), "\n")],
    [Node || {Address, Node} <- Named, Node =/= node(), not lists:member(Node, Members), open(Address, Port)].

open(Address, Port) ->
    case gen_tcp:connect(Address, Port, [], 1000) of
        {ok, Socket} -> gen_tcp:close(Socket), true;
        {error, _} -> false
    end.

%% One of the nodes does it for all.
streams(#{round := Round} = Seen, Members, Running) when Round rem ?STREAMS =:= 0 ->
    Wanted = min(?COPIES, length(Members)),
    Thin = [{Queue, Missing, Short} || Queue <- rabbit_amqqueue:list_by_type(rabbit_stream_queue),
            {Missing, Short} <- [lacking([One || One <- copies(Queue), lists:member(One, Members)], Running, Wanted)],
            Short > 0],
    [add(Queue, One) || node() =:= hd(Running), {Queue, Missing, _} <- Thin, One <- Missing],
    Seen#{thin := length(Thin)};
streams(Seen, _, _) ->
    Seen.

%% The nodes that get a copy, and how many copies are missing in all.
lacking(Copies, Running, Wanted) ->
    Short = max(0, Wanted - length(Copies)),
    {lists:sublist(Running -- Copies, Short), Short}.

copies(Queue) -> maps:get(nodes, amqqueue:get_type_state(Queue), []).

add(Queue, Node) ->
    {resource, Host, queue, Name} = amqqueue:get_name(Queue),
    Done = rabbit_stream_queue:add_replica(Host, Name, Node),
    logger:notice("saltern_watch: a copy of stream ~s for ~s: ~0p", [Name, Node, Done]).

running(Node) -> lists:sort(erpc:call(Node, mnesia, system_info, [running_db_nodes], ?PATIENCE)).

runs(Node) ->
    try erpc:call(Node, rabbit, is_running, [], ?PATIENCE)
    catch _:_ -> false
    end.

names(Nodes) -> lists:join(" ", lists:usort([atom_to_list(One) || One <- Nodes])).

report(Format, Arguments) ->
    ok = file:write_file(?REPORT ".new", [io_lib:format(Format, Arguments), $\n]),
    ok = file:rename(?REPORT ".new", ?REPORT).
