//! What a running engine answers to each request.

use std::{sync::Arc, time::Duration};

use hie_engine::production::{Production, Resend};
use hie_store::PurgeRequest;

use super::protocol::{Commanded, ItemVerb, Reply, Request, Resent, WireError};
use crate::{desk::Desk, exit::Failure, query, reconfigure, times};

/// How long a look-up waits for the index to have seen what was accepted before it.
const CATCH_UP: Duration = Duration::from_secs(2);

/// Answers one request. Look-ups run where they may block.
/// `by` is who asks, for what is recorded.
pub(crate) async fn answer(desk: Arc<Desk>, request: Request, by: &str) -> Result<Reply, Failure> {
    match request {
        Request::Status => Reply::one(&desk.status()?),
        Request::Resend { ids, target } => {
            let production = started(&desk)?;
            resend(production, ids, target).await
        }
        Request::Item { verb, names } => {
            let production = started(&desk)?;
            command(&production, verb, names, by).await
        }
        Request::Reload { dry_run } => {
            let production = started(&desk)?;
            reload(&production, dry_run, by).await
        }
        request => {
            let answer = tokio::task::spawn_blocking(move || blocking(&desk, &request));
            answer.await.unwrap_or_else(|_| {
                Err(Failure::new(
                    "panic",
                    "the engine panicked over this request; its log says where",
                ))
            })
        }
    }
}

fn started(desk: &Desk) -> Result<Arc<Production>, Failure> {
    let starting = || {
        Failure::new(
            "starting",
            "the engine is still starting; try again in a moment",
        )
    };
    desk.production().cloned().ok_or_else(starting)
}

fn blocking(desk: &Desk, request: &Request) -> Result<Reply, Failure> {
    let production = started(desk)?;
    let store = &production.broker.store;
    if !matches!(request, Request::Purge { .. }) {
        // A look-up that comes behind the index is still right about what it shows.
        let _ = store.catch_up(CATCH_UP);
    }
    match request {
        Request::Queues => Reply::rows(desk.queues()?, &serde_json::json!({})),
        Request::Purge {
            before_ms,
            items,
            dry_run,
        } => purge(&production, *before_ms, items, *dry_run),
        request => query::answer(store, request)
            .unwrap_or_else(|| Err(Failure::new("protocol", "this request has no answer"))),
    }
}

/// Does it with each of them; one that fails does not keep the others from it.
async fn command(
    production: &Production,
    verb: ItemVerb,
    names: Vec<String>,
    by: &str,
) -> Result<Reply, Failure> {
    let mut rows = Vec::with_capacity(names.len());
    for item in names {
        let done = production.command(&item, verb.into(), by).await;
        let state = production.item(&item);
        let state = state
            .map_or("", |item| item.stats.state().name())
            .to_owned();
        let (note, error) = match done {
            Ok(done) => (done.note, None),
            Err(error) => (String::new(), Some(Failure::new(error.code, error.message))),
        };
        rows.push(Commanded {
            item,
            state,
            note,
            error: error.map(WireError::from),
        });
    }
    Reply::rows(rows, &serde_json::json!({}))
}

async fn reload(production: &Arc<Production>, dry_run: bool, by: &str) -> Result<Reply, Failure> {
    let plan = reconfigure::reload(production, by, dry_run).await?;
    let generation = production.in_force().generation;
    Reply::one(&serde_json::json!({
        "dry_run": dry_run, "generation": generation, "plan": plan,
    }))
}

fn purge(
    production: &Production,
    before_ms: u64,
    items: &[String],
    dry_run: bool,
) -> Result<Reply, Failure> {
    let request = PurgeRequest {
        before_ms,
        items: items.to_vec(),
        keep_whole_sessions: true,
        dry_run,
    };
    let done = production.broker.store.purge(&request, times::now_ms())?;
    if !dry_run {
        tracing::info!(
            headers = done.headers,
            bodies = done.bodies,
            bytes = done.log_bytes,
            "purged by an operator"
        );
    }
    Reply::one(&serde_json::json!({
        "dry_run": dry_run, "messages": done.headers, "bodies": done.bodies, "bytes": done.log_bytes,
    }))
}

/// Sends each of them again; one that fails does not keep the others from going.
async fn resend(
    production: Arc<Production>,
    ids: Vec<u64>,
    target: Option<String>,
) -> Result<Reply, Failure> {
    let mut rows = Vec::with_capacity(ids.len());
    for id in ids {
        let (to, sent) = resend_one(&production, id, target.as_deref()).await;
        if let Ok(session) = &sent {
            tracing::info!(
                message = id,
                session,
                target = to,
                "sent again by an operator"
            );
        }
        let (session, error) = match sent {
            Ok(session) => (Some(session), None),
            Err(failure) => (None, Some(WireError::from(failure))),
        };
        rows.push(Resent {
            id,
            target: to,
            session,
            error,
        });
    }
    Reply::rows(rows, &serde_json::json!({}))
}

async fn resend_one(
    production: &Arc<Production>,
    id: u64,
    target: Option<&str>,
) -> (String, Result<u64, Failure>) {
    let store = production.broker.store.clone();
    let found = tokio::task::spawn_blocking(move || {
        let _ = store.catch_up(CATCH_UP);
        query::header(&store, id)
    });
    let row = match found.await {
        Ok(Ok(row)) => row,
        Ok(Err(failure)) => return (target.unwrap_or_default().into(), Err(failure)),
        Err(_) => {
            return (
                String::new(),
                Err(Failure::new("panic", "the look-up panicked")),
            );
        }
    };
    let target = target.unwrap_or(&row.target).to_owned();
    let again = Resend {
        id: row.id,
        source: row.source,
        target: target.clone(),
        content: row.content,
        body: row.body,
    };
    let sent = production.resend(&again).await;
    let sent = sent
        .map(|accepted| accepted.session.0)
        .map_err(|error| Failure::new(error.code, error.message));
    (target, sent)
}
