%% Takes the copies of queues and streams from nodes that are stopped for good or have lost their data, so that their
%% majority is counted among those that stay. Called by rabbitmq-forget.
-module(saltern_forget).
-export([nodes/2]).

% Seconds: one that has lost its power counts as running until net_ticktime has passed.
-define(PATIENCE, 60).
-define(TRIES, 20).

%% nodes(Nodes, Drop): prints what stands against it, a line each, or `free NODE` for each of them that is a member. Nothing
%% is changed while one of the nodes runs. Drop, a boolean, deletes queues that have copies on these nodes only.
nodes(Nodes, Drop) ->
    Members = rabbit_nodes:list_members(),
    Gone = [Node || Node <- Nodes, lists:member(Node, Members)],
    case running(Gone, ?PATIENCE) of
        [] ->
            case [Q || Q <- rabbit_amqqueue:list(), not shrunk(Q, Gone, Drop)] of
                [] -> [say("free ~s", [Node]) || Node <- Gone];
                Failed -> Failed
            end;
        Running ->
            [say("~s runs: stop it first. Nothing was changed", [Node]) || Node <- Running]
    end,
    ok.

running(Nodes, Seconds) ->
    case [Node || Node <- Nodes, lists:member(Node, rabbit_nodes:list_running())] of
        Running when Running =:= []; Seconds =:= 0 -> Running;
        _ -> timer:sleep(1000), running(Nodes, Seconds - 1)
    end.

shrunk(Q, Gone, Drop) ->
    Type = amqqueue:get_type(Q),
    case lists:member(Type, [rabbit_quorum_queue, rabbit_stream_queue]) of
        true ->
            Nodes = Type:get_replicas(Q),
            Left = Nodes -- Gone,
            Nodes =:= Left orelse without(Type, Q, Nodes -- Left, Left, Drop);
        false ->
            true
    end.

without(_, Q, _, [], true) ->
    {ok, _} = rabbit_amqqueue:internal_delete(Q, <<"saltern">>),
    true;
without(_, Q, Lost, [], false) ->
    say("~ts has copies on ~p only. If their data are lost: rabbitmq-forget --drop-queues NODE", [title(Q), Lost]),
    false;
without(rabbit_quorum_queue, Q, _, [Left], _) ->
    % No majority is left to agree on it, and no other copy can come back.
    {resource, Host, queue, Name} = amqqueue:get_name(Q),
    _ = erpc:call(Left, rabbit_quorum_queue, force_shrink_member_to_current_member, [Host, Name]),
    true;
without(rabbit_quorum_queue, Q, Lost, _, _) ->
    each(Q, Lost, fun(Node) -> rabbit_quorum_queue:delete_member(Q, Node) end);
without(rabbit_stream_queue, Q, Lost, _, _) ->
    {resource, Host, queue, Name} = amqqueue:get_name(Q),
    each(Q, Lost, fun(Node) -> rabbit_stream_queue:delete_replica(Host, Name, Node) end).

each(Q, Nodes, Do) ->
    lists:all(fun(Node) -> tried(Q, fun() -> Do(Node) end, ?TRIES) end, Nodes).

tried(Q, Do, Times) ->
    case Do() of
        ok -> true;
        Error when Times =:= 1 -> say("~ts: ~0tp", [title(Q), Error]), false;
        % A leader that was just elected cannot do it yet.
        _ -> timer:sleep(500), tried(Q, Do, Times - 1)
    end.

title(Q) -> rabbit_misc:rs(amqqueue:get_name(Q)).

say(Text, Values) -> io:format(Text ++ "~n", Values).
