//! Files that follow a store: each reads through the store's interface what happened since the last time, and remembers
//! for itself how far it has come. Whatever a follower holds can be made anew from the store, so that a crash, a lost
//! file or a late start is no loss. Knows no mail and no rule.

use crate::{
    config::Config,
    store::{Store, StoreError},
};

/// The one list of followers: each is a module of this floor with a struct of the same name, which has
/// `configured(&Config)`, `start(&Store)` and `follow(&Store)`.
macro_rules! followers {
    ($($module:ident :: $name:ident),+ $(,)?) => {
        $(mod $module; pub use $module::$name;)+

        /// Everybody who follows the store of an installation.
        #[derive(Debug, Clone)]
        pub struct Followers { $($module: $name),+ }

        impl Followers {
            /// Those that the configuration asks for; nothing is opened yet.
            #[must_use]
            pub fn configured(config: &Config) -> Self {
                Self { $($module: $name::configured(config)),+ }
            }

            /// Makes each one equal to what the store says, whatever it held. For the start of the daemon.
            ///
            /// # Errors
            /// The text names the file and says what to do; followers behind that one are not reached.
            pub async fn start(&self, store: &Store) -> Result<(), StoreError> {
                $(self.$module.start(store).await?;)+
                Ok(())
            }

            /// Carries over what happened since the last time. For after a change, and now and then for the changes of
            /// others.
            ///
            /// # Errors
            /// As for [`Followers::start`]; the next call carries over what is missing.
            pub async fn follow(&self, store: &Store) -> Result<(), StoreError> {
                $(self.$module.follow(store).await?;)+
                Ok(())
            }
        }
    };
}

followers! {
    published::Published,
}
