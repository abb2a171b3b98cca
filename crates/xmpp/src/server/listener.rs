//! Accepts connections, within limits.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::Context;
use super::negotiate::{Negotiation, Port};
use super::router::tally;
use super::session;

/// Pause when accepting fails for want of file descriptors or memory: trying again at once would only burn time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Places that connections take, in all and per address.
#[derive(Debug, Default)]
pub(super) struct Places {
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// One place, given back when dropped.
struct Place {
    context: Arc<Context>,
    address: IpAddr,
}

impl Places {
    fn take(context: &Arc<Context>, address: IpAddr) -> Option<Place> {
        let mut taken = context.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let total: usize = taken.values().sum();
        let here = taken.get(&address).copied().unwrap_or_default();
        let limits = &context.limits;
        if total >= limits.connections_max || here >= limits.connections_per_address_max {
            return None;
        }
        taken.insert(address, here + 1);
        Some(Place { context: Arc::clone(context), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.context.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = taken.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

/// Accepts until shutdown.
pub(super) async fn run(listener: TcpListener, port: Port, context: Arc<Context>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = context.shutdown.cancelled() => return,
        };
        match accepted {
            Ok((tcp, peer)) => begin(tcp, peer, port, &context),
            Err(e) => {
                tracing::warn!(error = %e, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn begin(tcp: TcpStream, peer: SocketAddr, port: Port, context: &Arc<Context>) {
    let Some(place) = Places::take(context, peer.ip()) else {
        // Dropping closes: whoever is over the limit gets no memory for an explanation.
        tally(&context.router.tallies.connections_refused);
        return;
    };
    tally(&context.router.tallies.connections_accepted);
    let context = Arc::clone(context);
    context.tasks.clone().spawn(async move {
        connection(tcp, peer, port, &context).await;
        drop(place);
    });
}

async fn connection(tcp: TcpStream, peer: SocketAddr, port: Port, context: &Arc<Context>) {
    // Small stanzas that wait for one another would else wait for the other side's delayed acknowledgement.
    if tcp.set_nodelay(true).is_err() {
        return;
    }
    let negotiation = Negotiation::new(context, peer).run(tcp, port);
    let negotiated = tokio::select! {
        negotiated = tokio::time::timeout(context.limits.negotiation_timeout, negotiation) => negotiated,
        () = context.shutdown.cancelled() => return,
    };
    match negotiated {
        Ok(Ok((stream, attached))) => session::run(stream, attached, context).await,
        Ok(Err(e)) => {
            tally(&context.router.tallies.negotiations_failed);
            tracing::info!(%peer, error = %e, "no session");
        }
        Err(_) => {
            tally(&context.router.tallies.negotiations_failed);
            tracing::info!(%peer, timeout = ?context.limits.negotiation_timeout, "no session in time");
        }
    }
}
