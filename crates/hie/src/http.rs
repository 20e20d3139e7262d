//! `/metrics` and `/health` over HTTP, on a loopback port unless configured otherwise.
//!
//! Owns the pages and their status codes. They carry names of items and figures, never content.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    desk::Desk,
    exit::{Exit, Failure},
    metrics,
};

/// Takes the port, before anything else starts.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let message = format!("the metrics page cannot listen on {address}: {error}");
        Failure::new("cannot-listen", message)
            .exit(Exit::Start)
            .help("set MetricsAddress in the configuration to a free address, or to none")
    })
}

/// Serves until it is dropped.
pub(crate) async fn serve(listener: TcpListener, desk: Arc<Desk>) {
    let pages = Router::new()
        .route("/metrics", get(metrics_page))
        .route("/health", get(health))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .with_state(desk);
    if let Err(error) = axum::serve(listener, pages).await {
        tracing::error!(%error, "the metrics page ended");
    }
}

async fn metrics_page(State(desk): State<Arc<Desk>>) -> Response {
    match metrics::text(&desk) {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The process answers: that is all that a restart could repair.
async fn live() -> Response {
    page(StatusCode::OK, &json!({ "live": true }))
}

async fn ready(State(desk): State<Arc<Desk>>) -> Response {
    let reasons = desk.ready().err().unwrap_or_default();
    page(
        status_of(&reasons),
        &json!({ "ready": reasons.is_empty(), "reasons": reasons }),
    )
}

async fn health(State(desk): State<Arc<Desk>>) -> Response {
    let reasons = desk.ready().err().unwrap_or_default();
    let status = desk.status().unwrap_or_default();
    let item = |item: &Value| json!({ "name": item["name"], "state": item["state"], "health": item["health"], "queued": item["queued"], "restarts": item["restarts"], "last_error": item["last_error"] });
    let items: Vec<Value> = status["items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(item)
        .collect();
    let body = json!({
        "live": true,
        "ready": reasons.is_empty(),
        "reasons": reasons,
        "production": status["production"],
        "version": status["version"],
        "uptime_s": status["uptime_s"],
        "items": items,
    });
    page(status_of(&reasons), &body)
}

fn status_of(reasons: &[String]) -> StatusCode {
    if reasons.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

fn page(status: StatusCode, body: &Value) -> Response {
    (
        status,
        [(CONTENT_TYPE, "application/json")],
        format!("{body}\n"),
    )
        .into_response()
}
