//! Every open connection with live updates: sockets, server-sent events, multipart. They are counted in all, per user, and
//! per address where nobody has signed in; a user's can be ended, and all of them when the server ends.
//!
//! A connection takes its [`Seat`] before it does anything, and has it as long as it lives:
//!
//! ```ignore
//! let mut seat = connections.enter(Some(&viewer), peer)?; // or `None` until somebody signs in, then `seat.sign_in(&viewer)?`
//! tokio::select! {
//!     ending = seat.ending() => …, // disconnectUser, or the end of the server
//!     …
//! }
//! ```
//!
//! To add a limit: a field of `SocketConfig`, a variant of [`Full`], its check in `enter` or `sign_in`.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::auth::Viewer;
use crate::config::SocketConfig;
use crate::telemetry::Telemetry;

/// A limit of connections is reached. Try again later, or close another one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The server has as many as it may.
    #[error("The server has {max} open connections, as many as it may (connections).")]
    Server {
        /// How many that is.
        max: usize,
    },
    /// The user has.
    #[error("The user has {max} open connections, as many as one may (connectionsPerUser).")]
    User {
        /// How many that is.
        max: usize,
    },
    /// The address has, and nobody has signed in there.
    #[error("Your address has {max} open connections, as many as one may (connectionsPerAddress).")]
    Address {
        /// How many that is.
        max: usize,
    },
}

impl Full {
    /// The limit's name, for an error's `extensions.limit`.
    #[must_use]
    pub fn limit(self) -> &'static str {
        match self {
            Self::Server { .. } => "connections",
            Self::User { .. } => "connectionsPerUser",
            Self::Address { .. } => "connectionsPerAddress",
        }
    }

    /// The limit's value, for an error's `extensions.max`.
    #[must_use]
    pub fn max(self) -> usize {
        let (Self::Server { max } | Self::User { max } | Self::Address { max }) = self;
        max
    }
}

/// Why a connection has to end though its client did not ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// `disconnectUser`.
    Disconnected,
    /// The server ends. What is outstanding may still be sent; then wait for [`Seat::turn`] and close.
    Shutdown,
}

/// The registry. Cheap to clone.
#[derive(Clone)]
pub struct Connections(Arc<Inner>);

struct Inner {
    config: SocketConfig,
    telemetry: Telemetry,
    end: CancellationToken,
    seats: Mutex<Seats>,
}

#[derive(Default)]
struct Seats {
    last: u64,
    all: usize,
    /// Those of signed-in users: never empty.
    users: HashMap<Arc<str>, Vec<(u64, CancellationToken)>>,
    /// How many there are from an address where nobody has signed in: never zero.
    addresses: HashMap<IpAddr, usize>,
}

/// Whom a connection is counted for, beside all.
enum Owner {
    /// Somebody without an id from an address that is not known, as over a Unix socket.
    Nobody,
    Address(IpAddr),
    User(Arc<str>),
}

impl Connections {
    /// Without any connection yet; `end` is cancelled when the subscriptions of this server end.
    #[must_use]
    pub fn new(config: SocketConfig, telemetry: Telemetry, end: CancellationToken) -> Self {
        Self(Arc::new(Inner { config, telemetry, end, seats: Mutex::default() }))
    }

    /// The limits and times.
    #[must_use]
    pub fn config(&self) -> &SocketConfig {
        &self.0.config
    }

    /// The counters.
    #[must_use]
    pub fn telemetry(&self) -> &Telemetry {
        &self.0.telemetry
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seats().all
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A seat for a new connection: of this viewer, or as yet of nobody, from this address.
    pub fn enter(&self, viewer: Option<&Viewer>, peer: Option<IpAddr>) -> Result<Seat, Full> {
        let mut seats = self.seats();
        let max = self.0.config.connections;
        if seats.all >= max {
            return Err(Full::Server { max });
        }
        seats.last += 1;
        let (number, disconnect) = (seats.last, CancellationToken::new());
        let owner = self.count(&mut seats, number, &disconnect, user_of(viewer), peer)?;
        seats.all += 1;
        self.0.telemetry.connections.inc();
        drop(seats);
        Ok(Seat { connections: self.clone(), number, disconnect, owner })
    }

    /// Ends the connections of a user. How many they were.
    pub fn disconnect(&self, user_id: &str) -> usize {
        let seats = self.seats();
        let of_user = seats.users.get(user_id).map(Vec::as_slice).unwrap_or_default();
        for (_, disconnect) in of_user {
            disconnect.cancel();
        }
        of_user.len()
    }

    fn count(
        &self,
        seats: &mut Seats,
        number: u64,
        disconnect: &CancellationToken,
        user: Option<&str>,
        peer: Option<IpAddr>,
    ) -> Result<Owner, Full> {
        let config = &self.0.config;
        match (user, peer.map(network)) {
            (Some(user), _) => {
                let max = config.connections_per_user;
                if seats.users.get(user).is_some_and(|of_user| of_user.len() >= max) {
                    return Err(Full::User { max });
                }
                let user =
                    seats.users.get_key_value(user).map_or_else(|| Arc::from(user), |(user, _)| Arc::clone(user));
                seats.users.entry(Arc::clone(&user)).or_default().push((number, disconnect.clone()));
                Ok(Owner::User(user))
            }
            (None, Some(address)) => {
                let max = config.connections_per_address;
                let count = seats.addresses.entry(address).or_default();
                if *count >= max {
                    return Err(Full::Address { max });
                }
                *count += 1;
                Ok(Owner::Address(address))
            }
            (None, None) => Ok(Owner::Nobody),
        }
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        // Nothing in here panics half-way.
        self.0.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seats {
    fn discount(&mut self, number: u64, owner: &Owner) {
        match owner {
            Owner::Nobody => {}
            Owner::Address(address) => {
                if let Some(count) = self.addresses.get_mut(address) {
                    *count -= 1;
                    if *count == 0 {
                        self.addresses.remove(address);
                    }
                }
            }
            Owner::User(user) => {
                if let Some(of_user) = self.users.get_mut(user) {
                    of_user.retain(|(other, _)| *other != number);
                    if of_user.is_empty() {
                        self.users.remove(user);
                    }
                }
            }
        }
    }
}

/// The place of one connection. Free again when it is dropped.
pub struct Seat {
    connections: Connections,
    number: u64,
    disconnect: CancellationToken,
    owner: Owner,
}

impl Seat {
    /// Somebody has signed in on a connection that was nobody's: it counts for the user from now on.
    pub fn sign_in(&mut self, viewer: &Viewer) -> Result<(), Full> {
        let Some(user) = user_of(Some(viewer)) else { return Ok(()) };
        let mut seats = self.connections.seats();
        let owner = self.connections.count(&mut seats, self.number, &self.disconnect, Some(user), None)?;
        let before = std::mem::replace(&mut self.owner, owner);
        if !matches!(before, Owner::User(_)) {
            seats.discount(self.number, &before);
        }
        Ok(())
    }

    /// Waits until this connection has to end. It may be asked again and again.
    pub fn ending(&self) -> impl Future<Output = Ending> + Send + use<> {
        let (disconnect, end) = (self.disconnect.clone(), self.connections.0.end.clone());
        async move {
            tokio::select! {
                biased;
                () = disconnect.cancelled() => Ending::Disconnected,
                () = end.cancelled() => Ending::Shutdown,
            }
        }
    }

    /// Whether the server ends.
    #[must_use]
    pub fn is_shutdown(&self) -> bool {
        self.connections.0.end.is_cancelled()
    }

    /// How long to wait at shutdown before this connection is closed: clients do not all come back in one instant. A few
    /// connections need no time for that.
    #[must_use]
    pub fn turn(&self) -> Duration {
        let each = Duration::from_millis(2);
        let spread = each.saturating_mul(u32::try_from(self.connections.len()).unwrap_or(u32::MAX));
        spread.min(self.connections.0.config.close_spread).mul_f64(fastrand::f64())
    }

    /// The registry.
    #[must_use]
    pub fn connections(&self) -> &Connections {
        &self.connections
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.connections.seats();
        seats.discount(self.number, &self.owner);
        seats.all -= 1;
        self.connections.0.telemetry.connections.dec();
    }
}

fn user_of(viewer: Option<&Viewer>) -> Option<&str> {
    viewer.and_then(|viewer| viewer.user_id.as_deref())
}

/// What one client has: of IPv6 that is a network of 64 bits, not an address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections() -> Connections {
        let config = SocketConfig {
            connections: 5,
            connections_per_user: 2,
            connections_per_address: 3,
            ..SocketConfig::default()
        };
        Connections::new(config, Telemetry::new(), CancellationToken::new())
    }

    fn address(text: &str) -> Option<IpAddr> {
        text.parse().ok()
    }

    #[test]
    fn each_limit_is_met_and_each_seat_given_back() {
        let connections = connections();
        let (anna, ben) = (Viewer::user("anna"), Viewer::user("ben"));
        let first = [connections.enter(Some(&anna), address("::1")), connections.enter(Some(&anna), None)];
        assert_eq!(connections.enter(Some(&anna), None).err(), Some(Full::User { max: 2 }));
        let near = ["2001:db8::1", "2001:db8::2", "2001:db8::3"].map(|text| connections.enter(None, address(text)));
        assert!(first.iter().chain(&near).all(Result::is_ok));
        assert_eq!(connections.enter(Some(&ben), None).err(), Some(Full::Server { max: 5 }));
        drop(first);
        assert_eq!(connections.enter(None, address("2001:db8::4")).err(), Some(Full::Address { max: 3 }));
        assert!(connections.enter(None, address("2001:db9::4")).is_ok());
        drop(near);
        let seats = connections.seats();
        assert_eq!((seats.all, seats.users.len(), seats.addresses.len()), (0, 0, 0));
    }

    #[tokio::test]
    async fn who_signs_in_counts_for_the_user_and_can_be_disconnected() {
        let connections = connections();
        let anna = Viewer::user("anna");
        let mut seats = [0; 3].map(|_| connections.enter(None, address("127.0.0.1")).unwrap());
        assert_eq!(seats[0].sign_in(&anna), Ok(()));
        assert_eq!(seats[1].sign_in(&anna), Ok(()));
        assert_eq!(seats[2].sign_in(&anna), Err(Full::User { max: 2 }));
        assert_eq!(connections.disconnect("ben"), 0);
        assert_eq!(connections.disconnect("anna"), 2);
        assert_eq!(seats[1].ending().await, Ending::Disconnected);
        let waits = tokio::time::timeout(Duration::from_millis(10), seats[2].ending());
        assert!(waits.await.is_err(), "somebody else was disconnected");
    }
}
