//! Network namespaces that live no longer than this process.
//!
//! A namespace has no name and no mount: a file descriptor holds it, so that the kernel takes it
//! away, with all that is inside, however the process ends.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::process::CommandExt,
    },
    path::PathBuf,
    process::Command,
    sync::Arc,
    thread,
};

use nix::sched::{CloneFlags, setns, unshare};

/// Why a namespace could not be made or entered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `unshare` failed.
    #[error("cannot create a network namespace")]
    Create(#[source] nix::Error),
    /// `setns` failed.
    #[error("cannot enter a network namespace")]
    Enter(#[source] nix::Error),
    /// No file of it.
    #[error("cannot open the new network namespace")]
    Open(#[source] io::Error),
    /// No thread to enter it.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// The thread that entered it died.
    #[error("a thread inside a network namespace panicked")]
    Panicked,
    /// A sysctl could not be written.
    #[error("cannot write {path}")]
    Sysctl {
        /// File under `/proc/sys/net`.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
}

/// A network namespace; it goes away with the last clone and the last socket inside.
#[derive(Clone, Debug)]
pub struct Namespace {
    file: Arc<File>,
}

impl Namespace {
    /// Makes a new, empty namespace.
    ///
    /// # Errors
    ///
    /// [`Error::Create`] without the privilege.
    pub fn create() -> Result<Self, Error> {
        on_own_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).map_err(Error::Create)?;
            let file = File::open("/proc/thread-self/ns/net").map_err(Error::Open)?;
            Ok(Self { file: Arc::new(file) })
        })
    }

    /// Moves the calling thread into the namespace.
    ///
    /// # Errors
    ///
    /// [`Error::Enter`].
    pub fn enter(&self) -> Result<(), Error> {
        setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(Error::Enter)
    }

    /// Runs `act` on a thread of its own inside the namespace, under the caller's tokio runtime if
    /// there is one. Sockets made there stay there.
    ///
    /// # Errors
    ///
    /// Those of entering, and those of `act`.
    pub fn run<T: Send, E: Send + From<Error>>(
        &self,
        act: impl FnOnce() -> Result<T, E> + Send,
    ) -> Result<T, E> {
        let runtime = tokio::runtime::Handle::try_current().ok();
        on_own_thread(|| {
            let _inside = runtime.as_ref().map(tokio::runtime::Handle::enter);
            self.enter()?;
            act()
        })
    }

    /// Writes sysctls of the namespace: paths below `/proc/sys/net` and their values.
    ///
    /// A path that this kernel does not have is skipped where the sysctl is optional.
    ///
    /// # Errors
    ///
    /// [`Error::Sysctl`].
    pub fn set(&self, sysctls: &[Sysctl]) -> Result<(), Error> {
        self.run(|| sysctls.iter().try_for_each(Sysctl::write))
    }

    /// A path of it, good while this process holds it.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()))
    }

    /// Lets a command start inside the namespace, and die with the thread that started it.
    pub fn adopt(&self, command: &mut Command) {
        let namespace = Arc::clone(&self.file);
        let enter = move || {
            nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
            setns(&*namespace, CloneFlags::CLONE_NEWNET)?;
            Ok(())
        };
        // SAFETY: between fork and exec the closure makes two system calls on a descriptor that it
        // owns; it neither allocates nor takes a lock that another thread might have held.
        unsafe { command.pre_exec(enter) };
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A sysctl to write.
#[derive(Clone, Copy, Debug)]
pub struct Sysctl {
    /// Path below `/proc/sys/net`.
    pub path: &'static str,
    /// Value.
    pub value: &'static str,
    /// Whether a kernel without it will do.
    pub optional: bool,
}

impl Sysctl {
    /// Writes it in the calling thread's namespace.
    fn write(&self) -> Result<(), Error> {
        let path = PathBuf::from("/proc/sys/net").join(self.path);
        match fs::write(&path, self.value) {
            Err(source) if self.optional && source.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(Error::Sysctl { path, source }),
            Ok(()) => Ok(()),
        }
    }
}

/// Runs `act` on a thread that ends with it, so that no other work inherits its namespace.
fn on_own_thread<T: Send, E: Send + From<Error>>(
    act: impl FnOnce() -> Result<T, E> + Send,
) -> Result<T, E> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("in-namespace".to_owned())
            .spawn_scoped(scope, act)
            .map_err(Error::Thread)?;
        match thread.join() {
            Ok(outcome) => outcome,
            Err(_panic) => Err(Error::Panicked.into()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inode() -> Result<PathBuf, Error> {
        fs::read_link("/proc/thread-self/ns/net").map_err(Error::Open)
    }

    #[test]
    fn a_namespace_is_another_one_and_the_caller_stays_outside() -> Result<(), Error> {
        let before = inode()?;
        let namespace = Namespace::create()?;
        let within = namespace.run(inode)?;
        assert_ne!(before, within);
        assert_eq!(before, inode()?);
        Ok(())
    }

    #[test]
    fn a_panic_inside_is_an_error_outside() -> Result<(), Error> {
        let namespace = Namespace::create()?;
        let outcome: Result<(), Error> = namespace.run(|| panic!("as the test wants it"));
        assert!(matches!(outcome, Err(Error::Panicked)));
        Ok(())
    }
}
