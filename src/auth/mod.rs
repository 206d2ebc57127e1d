//! Who is calling: a token becomes a [`Viewer`]. No axum here: tokens come by header and by `connection_init`.

/// Who the server takes the caller for. Every verb of the service takes one first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Viewer {
    /// The caller's own id; none for somebody who acts for everyone.
    pub user_id: Option<String>,
    /// What the caller may do.
    pub role: Role,
}

impl Viewer {
    /// Who may do everything: everybody, as long as no key is configured.
    #[must_use]
    pub fn admin() -> Self {
        Self { user_id: None, role: Role::Admin }
    }
}

/// What a caller may do. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sees and cancels the own tasks.
    User,
    /// Reports, sees and cancels for everyone.
    Worker,
    /// All that, and maintenance.
    Admin,
}
